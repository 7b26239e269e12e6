"""Every CT of a folder: one folder a case, tables over all, go on after anything.

`run.run_batch` is the whole job; `cases` says what a case is, `ledger` what is known of each; `pool` runs processes.
"""
