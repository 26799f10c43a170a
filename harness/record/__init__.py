"""What happened: the journal as it is written, the sealed record, traces and the rows in a database.

    journal.py    one line an event, written at once, survives a kill
    canonical.py  the one JSON spelling of a value, which hashes are made of
    traces.py     series and waveforms as Parquet
    record.py     sealing: the reproducible record, the signed logbook, and their verification
    run.py        the folder of one run, and the recorder of one plan
    store.py      a row for each run, plan and judgement

Importing this package imports none of the libraries beneath it.
"""
