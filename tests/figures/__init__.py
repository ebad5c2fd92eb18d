"""Figures in what people read, held to run files: `./lab numbers --check` (docs/numbers.toml says which is which).

places     which pages are looked at, and what of them: prose, rows of tables, comments of manifests
scan       what a figure is: a number with a unit, "3 of 40", a number in a table's cell
entries    docs/numbers.toml: Entry, read_entries(root); an entry's words, filled in from its run file
check      find_problems(root): a figure without an entry, an entry that no page has, a page unlike its run files
walks      keep_walk(...): a walk's times and measured predictions as a run file
"""
