"""Rigs, products and sites as data, and the bench that opens them."""
