"""The candidates: one module for each kind, run as a fresh process for each measurement."""
