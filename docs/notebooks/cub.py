# %% [markdown]
# # TS-CAM on CUB-200-2011
#
# What a trained TS-CAM sees in a bird: the attention of every layer, what is made of it, the boxes, and how good they
# are. Two things are needed: the data set as it is unpacked, and a model trained on it. A model is a run folder
# (`tscam train cub/deit-small --data CUB_200_2011 --out runs/cub`), a model folder, or the `.pth` file of the TS-CAM
# authors.

# %% tags=["parameters"]
from pathlib import Path

DATA = Path("CUB_200_2011")
MODEL = Path("runs/cub")
OUT = Path("runs/cub-notebook")  # scores are written here

# %%
import matplotlib.pyplot as plt
import numpy as np

import tscam
from tscam.drawing import sheet

test = tscam.datasets.read_dataset(DATA, split="test")
explainer = tscam.Explainer(MODEL)
print(f"{len(test)} test pictures of {len(test.class_names)} classes; threshold {explainer.threshold:g}")

# %% [markdown]
# ## Attention, layer by layer
#
# In every layer the class token attends to the patches. TS-CAM averages this attention over the heads and sums it
# over the layers. *Rollout* (Abnar & Zuidema, 2020) multiplies the layers instead. The dashed box is the true one,
# which the model was never shown. Another `picture` shows another bird.

# %%
picture = len(test) // 2
seen = explainer(test.path(picture), label=test.labels[picture])
seen.draw("layers", true_boxes=test.boxes[picture])

# %% [markdown]
# How much of the attention falls on the bird? The share of each map that lies inside the true box, over a few
# pictures, beside the share that an even spread would have: the area of the box. What is above the line finds the
# bird.


# %%
def share_inside(values, boxes, picture_wh):
    """The part of a map's sum that lies in a box; a patch counts where its centre is."""
    rows, columns = values.shape
    x = (np.arange(columns) + 0.5) * picture_wh[0] / columns
    y = (np.arange(rows) + 0.5) * picture_wh[1] / rows
    inside = np.zeros(values.shape, dtype=bool)
    for x0, y0, x1, y1 in boxes:
        inside |= np.outer((y0 <= y) & (y < y1), (x0 <= x) & (x < x1))
    return values[inside].sum() / values.sum()


few = range(0, len(test), max(1, len(test) // 20))
shares, even = [], []
for index in few:
    opened = explainer(test.path(index), label=test.labels[index])
    boxes, size = test.boxes[index], opened.picture.size
    shares.append([share_inside(layer.map, boxes, size) for layer in opened.layers])
    even.append(share_inside(np.ones_like(opened.layers[0].map), boxes, size))
shares, even = np.mean(shares, axis=0), np.mean(even)

names = [layer.caption.removeprefix("attention of ") for layer in seen.layers]
figure, axes = plt.subplots(figsize=(8, 0.6 + 0.3 * len(names)), layout="constrained")
axes.barh(names, shares, color="#0072B2")
axes.axvline(even, color="#D55E00", label="an even spread")
axes.invert_yaxis()
axes.set(xlim=(0, 1), xlabel=f"share of the map inside the true box, mean of {len(few)} pictures")
axes.legend(loc="lower right")
plt.show()

# %% [markdown]
# ## What is coupled
#
# The *semantic map* of a class says where its evidence is, the *attention map* where the object is, of whatever
# class. TS-CAM multiplies them, place by place. Where the product is above the threshold, a fraction of its maximum,
# is the object; the coloured box is that of the largest region.


# %%
def coupled(indices):
    """What is coupled in these pictures, one below the other."""
    pages = []
    for index in indices:
        opened = explainer(test.path(index), label=test.labels[index])
        pages.append(opened.draw("coupling", true_boxes=test.boxes[index]))
    return sheet(pages, columns=1)


coupled([len(test) * part // 8 for part in (1, 3, 5, 7)])

# %% [markdown]
# The maps are arrays on the patch grid, and the box is in pixels of the picture, for whatever else you do with them:

# %%
own = seen.coupling[-1]
print(f"{own.caption} of {seen.label}: map of {own.map.shape[0]}×{own.map.shape[1]} patches")
print("box      ", [round(edge) for edge in own.box])
print("true box ", [round(edge) for edge in test.boxes[picture][0]])

# %% [markdown]
# ## The five most likely classes
#
# Each class has a map and a box of its own: its semantic map, with the same attention. A class that nothing in the
# picture speaks for may get everything but the object.

# %%
seen.draw("classes", true_boxes=test.boxes[picture])

# %% [markdown]
# ## How good it is
#
# The whole test split under the protocol of the paper. *cls*: is the class right, first or among the first five.
# *loc*: is the class right and does its box overlap a true one by more than half (IoU > 0.5). *GT-known loc*: does
# the box of the true class overlap (IoU ≥ 0.5), whatever class was thought most likely. All pictures count. In
# brackets is where the number lies in 95 of 100 bootstrap samples of these pictures. There are
# [other protocols](../evaluation.md).

# %%
config = tscam.EvaluateConfig(data=DATA, split="test", out=OUT / "scores", overwrite=True)
scored = tscam.evaluate(MODEL, config).results["ts-cam"]
print(scored.describe())

# %% [markdown]
# The last lines say what became of the box of the most likely class: another class than the true one, a box on a
# *part* of the bird, one with much *more* than it, or elsewhere (*wrong*). How close boxes are is in the distribution
# of IoU, and where they fail is seen in the worst of the pictures whose class is right. All of it, with the errors at
# every threshold, is in `OUT / "scores/report.html"`, a page for the browser.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
left.hist(scored.columns.iou, bins=np.linspace(0, 1, 21), color="#0072B2")
left.axvline(0.5, color="#D55E00")
left.set(xlim=(0, 1), xlabel="IoU of the true class's box", ylabel="pictures")
errors = scored.columns.errors()
right.barh(list(errors), list(errors.values()), color="#0072B2")
right.invert_yaxis()
right.set(xlabel="pictures")
plt.show()

# %%
of_right_class = np.flatnonzero(scored.columns.measures["top1_cls"])
worst = of_right_class[np.argsort(scored.columns.iou[of_right_class], kind="stable")][:3]
coupled(worst.tolist())

# %% [markdown]
# ## The same weights, read by other methods
#
# A method only reads what the network computes, so one model serves several: `cam` takes the semantic map alone,
# `attention` and `rollout` the attention alone, `grad-cam` gradients. First in one picture:

# %%
seen.draw("methods", true_boxes=test.boxes[picture])

# %% [markdown]
# Then on the whole test split. Each method has its own best threshold; one evaluation has the scores at all of them.
# The best is chosen on the test split, an *oracle's*: good for comparing methods, too high for anything else.

# %%
figure, curves = plt.subplots(figsize=(8, 3), layout="constrained")
print("GT-known loc  at the model's threshold     at the best")
for method, color in (("ts-cam", "#0072B2"), ("attention", "#D55E00"), ("cam", "#009E73")):
    config = tscam.EvaluateConfig(data=DATA, split="test", out=OUT / method, method=method, overwrite=True)
    found = tscam.evaluate(MODEL, config).results["ts-cam"]
    gt_known = found.curve.percent("gt_known_loc")
    curves.plot(found.curve.thresholds, gt_known, color=color, label=method)
    stored, best = found.scores["gt_known_loc"].describe(), f"{gt_known.max():.2f} % at {found.best_threshold:g}"
    print(f"{method:<14}{stored:<29}{best}")
curves.axvline(explainer.threshold, color="gray", linestyle=":", label="the model's threshold")
curves.set(xlim=(0, 1), ylim=(0, 100), xlabel="threshold", ylabel="GT-known loc, %")
curves.legend(loc="upper right")
plt.show()

# %% [markdown]
# Whether one is better than another by more than chance, picture by picture, says
# `tscam compare runs/cub-notebook/cam runs/cub-notebook/ts-cam`.
