# %% [markdown]
# # TS-CAM on CUB-200-2011
#
# This notebook shows what a trained TS-CAM computes for pictures of birds: the attention of every layer, its coupling
# with the semantic map, the boxes, and their scores. It needs the dataset as it is unpacked, and a model trained on it.
# The model is a run folder (`tscam train cub/deit-small --data CUB_200_2011 --out runs/cub`), a model folder, or the
# `.pth` file of the TS-CAM authors.

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
# In every layer the class token attends to the patches. TS-CAM averages this attention over the heads and sums it over
# the layers. *Rollout* (Abnar & Zuidema, 2020) multiplies the layers instead. The dashed box is the ground truth, which
# the model has never seen. Change `picture` to see another bird.

# %%
picture = len(test) // 2
explanation = explainer(test.path(picture), label=test.labels[picture])
explanation.draw("layers", true_boxes=test.boxes[picture])

# %% [markdown]
# How much of the attention is on the bird? The next cell computes the share of each map inside the ground-truth box, as
# a mean over some pictures. The line is the share of a uniform map: the area of the box. A layer beyond the line
# locates the bird.


# %%
def share_inside(values, boxes, picture_wh):
    """Return the share of a map's sum inside the boxes; a patch is inside if its centre is."""
    rows, columns = values.shape
    x = (np.arange(columns) + 0.5) * picture_wh[0] / columns
    y = (np.arange(rows) + 0.5) * picture_wh[1] / rows
    inside = np.zeros(values.shape, dtype=bool)
    for x0, y0, x1, y1 in boxes:
        inside |= np.outer((y0 <= y) & (y < y1), (x0 <= x) & (x < x1))
    return values[inside].sum() / values.sum()


sample = range(0, len(test), max(1, len(test) // 20))
shares, uniform = [], []
for index in sample:
    sampled = explainer(test.path(index), label=test.labels[index])
    boxes, size = test.boxes[index], sampled.picture.size
    shares.append([share_inside(layer.map, boxes, size) for layer in sampled.layers])
    uniform.append(share_inside(np.ones_like(sampled.layers[0].map), boxes, size))
shares, uniform = np.mean(shares, axis=0), np.mean(uniform)

names = [layer.caption.removeprefix("attention of ") for layer in explanation.layers]
figure, axes = plt.subplots(figsize=(8, 0.6 + 0.3 * len(names)), layout="constrained")
axes.barh(names, shares, color="#0072B2")
axes.axvline(uniform, color="#D55E00", label="a uniform map")
axes.invert_yaxis()
axes.set(xlim=(0, 1), xlabel=f"share of the map inside the ground-truth box, mean of {len(sample)} pictures")
axes.legend(loc="lower right")
plt.show()

# %% [markdown]
# ## The coupling
#
# The *semantic map* of a class shows the evidence for that class. The *attention map* shows the object, whatever its
# class. TS-CAM multiplies the two maps patch by patch. The object is where the product exceeds the threshold, a
# fraction of its maximum. The coloured box encloses the largest such region.


# %%
def draw_couplings(indices):
    """Draw the coupling in some pictures, one below the other."""
    pages = []
    for index in indices:
        page = explainer(test.path(index), label=test.labels[index])
        pages.append(page.draw("coupling", true_boxes=test.boxes[index]))
    return sheet(pages, columns=1)


draw_couplings([len(test) * part // 8 for part in (1, 3, 5, 7)])

# %% [markdown]
# The maps are arrays on the patch grid, and the box is in pixels of the picture:

# %%
coupled = explanation.coupling[-1]
print(f"{coupled.caption} of {explanation.label}: map of {coupled.map.shape[0]}×{coupled.map.shape[1]} patches")
print("box              ", [round(edge) for edge in coupled.box])
print("ground-truth box ", [round(edge) for edge in test.boxes[picture][0]])

# %% [markdown]
# ## The five most likely classes
#
# Every class has its own map and box: its semantic map is multiplied by the same attention map. The box of a class
# without evidence in the picture may enclose everything but the object.

# %%
explanation.draw("classes", true_boxes=test.boxes[picture])

# %% [markdown]
# ## Scores
#
# The whole test split is scored under the protocol of the paper. *cls*: the correct class is the most likely one, or
# among the five most likely. *loc*: the class is correct and its box overlaps a ground-truth box by more than half (IoU
# > 0.5). *GT-known loc*: the box of the correct class overlaps (IoU ≥ 0.5), whatever the most likely class is. All
# pictures count. Brackets give the interval that contains the number for 95 of 100 bootstrap samples of the pictures.
# There are [other protocols](../evaluation.md).

# %%
config = tscam.EvaluateConfig(data=DATA, split="test", out=OUT / "scores", overwrite=True)
result = tscam.evaluate(MODEL, config).results["ts-cam"]
print(result.describe())

# %% [markdown]
# The last lines count the outcomes for the box of the most likely class: the class is wrong, the box covers a *part* of
# the bird or much *more* than the bird, or it is elsewhere (*wrong*). The distribution of IoU shows how closely the
# boxes fit. The worst pictures with a correct class show where they fail. Open `OUT / "scores/report.html"` in a
# browser for all of this, with the errors at every threshold.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
left.hist(result.columns.iou, bins=np.linspace(0, 1, 21), color="#0072B2")
left.axvline(0.5, color="#D55E00")
left.set(xlim=(0, 1), xlabel="IoU of the box of the correct class", ylabel="pictures")
errors = result.columns.errors()
right.barh(list(errors), list(errors.values()), color="#0072B2")
right.invert_yaxis()
right.set(xlabel="pictures")
plt.show()

# %%
correct_class = np.flatnonzero(result.columns.measures["top1_cls"])
worst = correct_class[np.argsort(result.columns.iou[correct_class], kind="stable")][:3]
draw_couplings(worst.tolist())

# %% [markdown]
# ## The same weights with other methods
#
# A method uses what the network computes, so one model serves several methods: `cam` uses only the semantic map,
# `attention` and `rollout` only the attention, `grad-cam` the gradients. First for one picture:

# %%
explanation.draw("methods", true_boxes=test.boxes[picture])

# %% [markdown]
# Then for the whole test split. Each method has its own best threshold; one evaluation gives the scores at all of them.
# The best threshold is chosen on the test split, so it is an *oracle*: good for the comparison of methods, too high for
# anything else.

# %%
figure, curves = plt.subplots(figsize=(8, 3), layout="constrained")
print("GT-known loc  at the model's threshold     at the best")
for method, color in (("ts-cam", "#0072B2"), ("attention", "#D55E00"), ("cam", "#009E73")):
    config = tscam.EvaluateConfig(data=DATA, split="test", out=OUT / method, method=method, overwrite=True)
    by_method = tscam.evaluate(MODEL, config).results["ts-cam"]
    gt_known = by_method.curve.percent("gt_known_loc")
    curves.plot(by_method.curve.thresholds, gt_known, color=color, label=method)
    stored = by_method.scores["gt_known_loc"].describe()
    print(f"{method:<14}{stored:<29}{gt_known.max():.2f} % at {by_method.best_threshold:g}")
curves.axvline(explainer.threshold, color="gray", linestyle=":", label="the model's threshold")
curves.set(xlim=(0, 1), ylim=(0, 100), xlabel="threshold", ylabel="GT-known loc, %")
curves.legend(loc="upper right")
plt.show()

# %% [markdown]
# `tscam compare runs/cub-notebook/cam runs/cub-notebook/ts-cam` tests, picture by picture, whether the difference
# between two methods is more than chance.
