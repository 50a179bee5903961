# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown] slideshow={"slide_type": "slide"}
# # Diffusion models
#
# **What if every step is easy?**

# %% [markdown] slideshow={"slide_type": "skip"}
# {{before}} {{after}}
