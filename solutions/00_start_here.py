# ---
# jupyter:
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "00", minutes: 10, grades: [], needs: [],
#         inputs: [service/tickets.py, labs/helpers/lesson/practice.py], gives: [service/tickets.py]}
# ---

# %% [markdown] tags=["why"]
# # 00 · Start here
#
# By lab 08 a cluster on your machine sorts a shop's tickets, eighty people ask it at once, and you can say from its
# metrics for what they wait. This notebook is ten minutes on how the labs work. After it you can
#
# - say what each lab makes, and which of it is files and which runs;
# - fill in a TODO, write a file from a cell, and put down a guess before you see the answer;
# - read the four verdicts, and tell your mistake from the grader's;
# - see what this machine lacks for the later labs, and the command that adds it.
#
# **Needed:** this kernel, nothing else. **Your time** (an estimate): 10 minutes. The way 2, cells 3, verdicts 4, the
# machine 1. **The machine's time** is told by the last cell.
#
# Click into the grey cell below and press Shift+Enter: that runs it and moves on. It loads the tools and shows two
# tickets of each kind.

# %% tags=["do"]
# %load_ext grader.magic
import sys

from labs.helpers.charts import route
from labs.helpers.lesson import practice, timing

sys.path.insert(0, "service")  # the folder of your service; so far it holds the tickets
from tickets import TICKETS, held_out

clock = timing.Clock()
print("\n".join(f"{label:<9} {text}" for text, label in TICKETS[1:7]))

# %% [markdown] tags=["explain"]
# Six of the eight tickets that all labs share, each behind the kind that a person gave it. The number in `[1]` beside
# the cell says that it ran, and as which. Running a cell again, or the whole notebook from the top (Run, Run All
# Cells), does no harm in any lab.

# %% [markdown] tags=["why"]
# ## 1 · The way (2 minutes)
#
# A model in a notebook answers one person: you. Between that and an answer to anybody lie six stations, and each
# lab builds one. Follow the arrows once with your finger.

# %% tags=["see"]
# Square boxes are files, rounded ones are running processes.
# The number in a box is the lab that makes what it stands for.
# Labs 06 and 09 to 12 change this way, break it, and compare it with others.
route.draw()

# %% [markdown] tags=["explain"]
# The order of square and rounded is worth a second look: nothing that runs is ever changed. To serve another model
# you make new files and start from them. When something fails in lab 05, its cause may lie in a file of lab 01; that
# is why each station is checked before the next one begins.

# %% [markdown] tags=["why"]
# ## 2 · A cell to fill in (3 minutes)
#
# Before two models sort tickets, let two words do it: a rule that looks for a word in the text. A server will need
# code as files, not as cells, so labs write files from cells: `%%work NAME` in the first line saves the rest of the
# cell under that name. This first rule is given, and its author gave up early.

# %% tags=["do"]
# %%work practice/triage.py
"""Sort a ticket by a word in it: the cheapest thing that could work."""

WORDS = {"charged": "billing"}


def sort(text: str) -> str:
    found = [label for word, label in WORDS.items() if word in text.lower()]
    return found[0] if found else "billing"


# %% [markdown] tags=["explain"]
# One line tells what was written. The file is yours: open it in the list on the left. If you edit it there and run
# the cell again, the cell refuses and shows the difference, since it cannot know which of the two you want to keep.

# %% [markdown] tags=["predict"]
# Soon you put in a word for account and a word for shipping. You know eight tickets; the rule will meet 120 others,
# of which 47 are about billing. How many will it sort right? Write a number in the place of the dots and run the
# cell: `%%answer` keeps it, and a guess that turns out wrong teaches more than one that was never made.

# %% tags=["predict"]
# %%answer 00a
# TODO a number from 0 to 120, and why
...
# solution
"52: people seldom use the plain word for what they mean."
# end

# %% [markdown] tags=["why"]
# ## 3 · A check that fails, and passes (4 minutes)
#
# A **probe** looks at the world and writes down facts: here it starts your file in a fresh process and asks it to
# sort the 120. A **check** reads the facts and says whether they will do. Checks come in an order: whether the rule
# beats a guess is no question while it knows one kind only, so the second check comes `after` the first.

# %% tags=["do"]
from grader.kit import check
from grader.model import Finding


@check(practice.asked, after=practice.every_ticket_gets_a_label)
def three_kinds(seen):
    kinds = sorted(set(seen["labels"]))
    said = f"the labels given were: {', '.join(kinds)}"
    return Finding(len(kinds) == 3, said, len(kinds), 3)


# %% tags=["do"]
@check(practice.asked, after=three_kinds)
def better_than_all_billing(seen):
    right = sum(a == b for a, b in zip(seen["labels"], seen["wanted"], strict=True))
    lazy = seen["wanted"].count("billing")
    said = f"{right} of 120 right; calling all of them billing gives {lazy}"
    return Finding(right > lazy, said, right, lazy + 1)


checks = [practice.every_ticket_gets_a_label, three_kinds, better_than_all_billing]

# %% [markdown] tags=["explain"]
# Nothing was printed, since nothing has been looked at yet: the two cells only say what will do. These few lines are
# all of a check: it compares, and says what it found and what it wanted. It never decides whose fault something is;
# that is the judge's work, and the judge is the same for all labs. The next cell hands it what the probe saw.

# %% tags=["check"]
# The file of the first rule, judged. A line: the verdict, the check, what was found.
tickets = held_out(120)
print(practice.judge(checks, practice.look(tickets)))

# %% [markdown] tags=["explain"]
# Three of the four verdicts at once. **pass**: looked at, and right. **fail**: the work is not right yet, and the line
# says what was found. **not run**: nobody looked, here because an earlier check failed; later also because a tool is
# missing, and then the line names the command that adds it. Not run proves nothing, so it never counts as passed.

# %% [markdown] tags=["why"]
# Now mend it. Choose two words with the eight tickets in mind, small letters, one for each label. Leave the dots in
# once and run the cell if you like: it says what is missing, and writes nothing.

# %% tags=["do"]
# %%work practice/triage.py
"""Sort a ticket by a word in it: the cheapest thing that could work."""

WORDS = {"charged": "billing"}
# TODO a word that tickets about an account have, and one that those about shipping have
account_word, shipping_word = ..., ...
# solution
account_word, shipping_word = "password", "parcel"
# end
WORDS |= {account_word: "account", shipping_word: "shipping"}


def sort(text: str) -> str:
    found = [label for word, label in WORDS.items() if word in text.lower()]
    return found[0] if found else "billing"


# %% tags=["check"]
# The same probe and the same checks; only your file is another one.
seen = practice.look(tickets)
print(practice.judge(checks, seen))

# %% [markdown] tags=["explain"]
# If a line still fails, its message says why: another word, and run the two cells again. Then compare the last line
# with your guess. The rule passes, and it is bad: the check asked for more than nothing, and that is what it got. A
# check proves what it looks at and no more, which is worth remembering in every lab.

# %% [markdown] tags=["predict"]
# One verdict is left. Suppose that the grader's clock stops your file after a thousandth of a second. No Python even
# starts so fast. Should that be a fail? Write what you would call it, and why.

# %% tags=["predict"]
# %%answer 00b
# The grader gives your file a thousandth of a second and stops it. Which verdict
# should that be?
# a  fail
# b  not run
# c  error
# TODO the letter of one of these, and why
...
# solution
"c: no file could have passed, so it says nothing about mine."
# end

# %% tags=["check"]
# The same file, which passed a minute ago, and a probe without the time to look.
hurried = practice.look(tickets, limit=0.001)
print(practice.judge(checks, hurried))

# %% [markdown] tags=["explain"]
# **error**: the grader or the machine had trouble, which says nothing about your work. Grade again; if it comes back,
# look at the machine. An answer that *your* server never gives, within a time that was fair, is another matter: that
# is a fact about your server, and a fail.

# %% [markdown] tags=["explain"]
# In the labs all this is one line of a notebook, `%grade sc1`. Whatever else helps you is typed in a terminal: **File,
# New, Terminal** opens one beside the notebooks. It begins in your workspace, and `./lab` lies in the kit's folder, so
# type `cd "$LAB_KIT"` there first, once. (In a terminal of your own, go to the folder that you cloned.)
#
# | type | and get |
# |---|---|
# | `./lab status` | the next cell to do, and the last check that failed |
# | `./lab grade sc1` | the verdicts of one criterion; without a name, of all seven |
# | `./lab hint` | a nudge for the last failed check; again, a pointer; again, the worked step |
# | `./lab diff 01` | your notebook beside the solution, after the third hint |
# | `./lab reset 01` | the notebook as it came; yours is kept in `backups/` |
#
# One word before you go on. **The module** is the course text that these labs grew out of. They quote it now and then,
# and where the software does something else than the text says, you see both, and the experiment between them.

# %% [markdown] tags=["why"]
# ## 4 · This machine (1 minute)
#
# Labs 00 to 03 need what you have already. Containers and a cluster come later, and an installation is better begun
# today than in the middle of lab 04. This is `./lab doctor`, which looks and changes nothing.

# %% tags=["see"]
# Missing is no failure: what needs it will say "not run".
# A port that JupyterLab itself holds counts as found.
# !python -m grader.cli doctor
print(f"\nThis notebook took {clock.seconds:.0f} s of this machine's time.")

# %% [markdown] tags=["explain"]
# For each line that says `missing`, the end of the line is what to do. Docker, kind and kubectl are for labs 04 to 08,
# the rest for single experiments; each lab names its needs in its first cell.
#
# ## What is open
# Your rule found the tickets that use your words. The others mean the same and say it otherwise: *parcel*, *package*,
# *delivery*, *order*, *courier*. A longer list of words would catch more of them, and the next customer would find
# another word. What would a program have to know of a text, so that two texts about the same thing lie close together
# although they share no word? Lab 01 begins with numbers that do this.
