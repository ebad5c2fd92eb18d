# ---
# jupyter:
#   kernelspec: {name: python3, display_name: Python 3 (ipykernel), language: python}
#   lab: {id: "02", minutes: 1, grades: [t4, t5], needs: [unicorn], live: [clock]}
# ---

# %% [markdown] tags=["why"]
# Nothing is done here.

# %% tags=["do"]
# TODO a name
name = ...
# solution
name = "toy"
# end
print(name)
