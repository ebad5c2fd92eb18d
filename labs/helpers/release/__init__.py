"""Releases: two places where one runs, what their pods say of themselves, and a record held against them."""
