# ---
# jupyter:
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "01", minutes: 1, grades: [t1], needs: [], inputs: [], gives: [service/given.txt]}
# ---

# %% [markdown] tags=["why"]
# A number has to be written.

# %% tags=["do"]
# %load_ext grader.magic
from pathlib import Path

# %% tags=["do"]
# %%work service/number.txt
# TODO the number
...
# solution
42
# end

# %% tags=["see"]
# the file holds the number alone
Path("service/number.txt").write_text(Path("service/number.txt").read_text().split("\n")[-2] + "\n")
print(Path("service/number.txt").read_text())

# %% tags=["predict"]
# %%answer T1
# TODO your answer
...
# solution
"4: counted"
# end

# %% tags=["see"]
from labs.helpers.teaching.answers import measured

measured("T1", 2 + 2)
