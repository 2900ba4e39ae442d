# %% [markdown]
# # TS-CAM on ImageNet
#
# A thousand classes, and pictures with several objects: what a trained TS-CAM sees in the validation pictures of
# ILSVRC 2012, and how well its boxes fit. Two things are needed: ImageNet (`train/`, `val/` and the list files, or
# Kaggle's tree), and a model trained on it: a run folder (`tscam train ilsvrc/deit-small --data ILSVRC2012 --out
# runs/ilsvrc`), a model folder, or the `.pth` file of the TS-CAM authors, whose classes are numbers.

# %% tags=["parameters"]
from pathlib import Path

DATA = Path("ILSVRC2012")
MODEL = Path("runs/ilsvrc")
OUT = Path("runs/ilsvrc-notebook")  # scores are written here

# %%
import matplotlib.pyplot as plt
import numpy as np

import tscam
from tscam.drawing import sheet

val = tscam.datasets.read_dataset(DATA, split="val")
explainer = tscam.Explainer(MODEL)
boxes_of = np.array([len(boxes) for boxes in val.boxes])
print(f"{len(val)} pictures of {len(val.class_names)} classes, {(boxes_of > 1).sum()} with more than one box")

# %% [markdown]
# ## One picture, opened up
#
# The attention of the class token in every layer, their sum, which is TS-CAM's attention map, and the rollout. The
# dashed boxes are the true ones. Another `picture` shows another.

# %%
with_one = np.flatnonzero(boxes_of == 1)
picture = int(with_one[len(with_one) // 2])
seen = explainer(val.path(picture), label=val.labels[picture])
seen.draw("layers", true_boxes=val.boxes[picture])

# %% [markdown]
# The semantic map of the class, the attention map, and their product, from which the box is taken:

# %%
seen.draw("coupling", true_boxes=val.boxes[picture])

# %% [markdown]
# ## Five classes, five boxes
#
# Top-5 Loc asks whether one of the five most likely classes is the true one *and* has a right box. Each has its own
# map:

# %%
seen.draw("classes", true_boxes=val.boxes[picture])

# %% [markdown]
# ## Several objects
#
# Where a picture shows several objects of its class, each has a true box, and it is enough to find one. A method
# gives one box a class, around the largest region. If the regions of two objects grow together, the box is around
# both: *multi-instance* among the errors below.

# %%
several = [int(index) for index in np.flatnonzero(boxes_of > 1)]


def coupled(indices):
    """What is coupled in these pictures, one below the other."""
    pages = []
    for index in indices:
        opened = explainer(val.path(index), label=val.labels[index])
        pages.append(opened.draw("coupling", true_boxes=val.boxes[index]))
    return sheet(pages, columns=1)


coupled(several[len(several) * part // 6] for part in (1, 3, 5))

# %% [markdown]
# Any other class can be asked for, by name or by number. Attention is the same for all of them; the semantic map is
# not. Here the second most likely class of the picture in which the model is least sure of the first, of a few:

# %%
few = range(0, len(val), max(1, len(val) // 50))
found = tscam.load(MODEL)([val.path(index) for index in few], top_k=2)
unsure = min(found, key=lambda one: one.objects[0].score if one.objects else 1.0)
first, second = explainer(unsure.image).classes[:2]
print(f"{Path(unsure.image).name}: {first.caption}, then {second.caption}")
opened = [explainer(unsure.image, label=one.class_id) for one in (first, second)]
sheet([one.draw("coupling") for one in opened], columns=1)

# %% [markdown]
# ## How good it is
#
# All of `val`, which is 50,000 pictures: a GPU is advised. One pass over the pictures gives the numbers of several
# [protocols](../evaluation.md). `ts-cam` is that of the paper, at the model's threshold. *cls*: is the class right.
# *loc*: is it right and does its box overlap a true one by more than half. *GT-known loc*: does the box of the true
# class overlap. `max-box-acc` asks the last at the threshold that is best on these very pictures; MaxBoxAccV2 is the
# mean over IoU ≥ 0.3, 0.5 and 0.7, each at its best threshold, and the best of all boxes of a map counts. In brackets
# is where a number lies in 95 of 100 bootstrap samples of the pictures.

# %%
protocols = ("ts-cam", "max-box-acc", "max-box-acc-v2")
config = tscam.EvaluateConfig(data=DATA, split="val", protocol=protocols, out=OUT / "scores", overwrite=True)
evaluation = tscam.evaluate(MODEL, config)
print(evaluation.describe())

# %% [markdown]
# What became of the box of the most likely class, and how pictures of one object compare with those of several.
# `OUT / "scores/report.html"`, opened in a browser, has more of this: every protocol, errors at every threshold, and
# the best and the worst pictures of each kind.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
scored = evaluation.results["ts-cam"]
errors = scored.columns.errors()
left.barh(list(errors), list(errors.values()), color="#0072B2")
left.invert_yaxis()
left.set(xlabel="pictures")
gt_known = {group.name: group.scores["gt_known_loc"] for group in scored.by_count}
right.bar(list(gt_known), list(gt_known.values()), color="#0072B2", width=0.5)
right.set(ylim=(0, 100), ylabel="GT-known loc, %")
plt.show()

# %% [markdown]
# The worst boxes of pictures whose class is right:

# %%
of_right_class = np.flatnonzero(scored.columns.measures["top1_cls"])
worst = of_right_class[np.argsort(scored.columns.iou[of_right_class], kind="stable")][:3]
coupled(worst.tolist())

# %% [markdown]
# ## The same weights, read by other methods
#
# A method only reads what the network computes: `cam` the semantic map alone, `attention` and `rollout` the attention
# alone, `grad-cam` gradients. Each has its own best threshold: the first three columns are at the model's, MaxBoxAccV2
# is at the best of each.

# %%
seen.draw("methods", true_boxes=val.boxes[picture])

# %%
print("                top-1 loc  top-5 loc  GT-known loc  MaxBoxAccV2")
for method in ("ts-cam", "attention", "cam"):
    config = tscam.EvaluateConfig(
        data=DATA, split="val", method=method, protocol=("ts-cam", "max-box-acc-v2"), out=OUT / method, overwrite=True
    )
    found = tscam.evaluate(MODEL, config).results
    paper, v2 = found["ts-cam"].scores, found["max-box-acc-v2"].scores["max_box_acc_v2"]
    top1, top5, known = (paper[name].value for name in ("top1_loc", "top5_loc", "gt_known_loc"))
    print(f"{method:<14}{top1:11.1f}{top5:11.1f}{known:14.1f}{v2.value:13.1f}")
