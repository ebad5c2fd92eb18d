"""Figures in what people read, held to run files: `./lab numbers --check` (docs/numbers.toml says which is which).

places     the pages that are looked at, and what of them: prose, rows of tables, comments of manifests
scan       what a figure is: a number with a unit, "3 of 40", a number in a table's cell
entries    docs/numbers.toml: Entry, read_registry(root); an entry's words, filled in from its run file
check      check(root): a figure without an entry, an entry that no page has, a page unlike its run files
rewrite    write_figures, write_tables: what the run files say, into the pages
drift      find_drifts(root): what takes more yardsticks than in the run before
walks      keep_walk(work), keep_lab(work, number): times and measured predictions as a run file
logs       keep_ci, keep_drains, keep_table: what a command printed as a run file
"""
