# %% [markdown]
# # TS-CAM on ImageNet
#
# A thousand classes, and pictures with several objects: this notebook shows what a trained TS-CAM computes for
# validation pictures of ILSVRC 2012, and how well its boxes fit. It needs ImageNet (`train/`, `val/` and the list
# files, or Kaggle's tree), and a model trained on it. The model is a run folder (`tscam train ilsvrc/deit-small --data
# ILSVRC2012 --out runs/ilsvrc`), a model folder, or the `.pth` file of the TS-CAM authors, whose classes are numbers.

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
box_counts = np.array([len(boxes) for boxes in val.boxes])
print(f"{len(val)} pictures of {len(val.class_names)} classes, {(box_counts > 1).sum()} with more than one box")

# %% [markdown]
# ## One picture in detail
#
# The attention of the class token in every layer; their sum, which is the attention map of TS-CAM; and the rollout. The
# dashed boxes are the ground truth. Change `picture` to see another one.

# %%
with_one = np.flatnonzero(box_counts == 1)
picture = int(with_one[len(with_one) // 2])
explanation = explainer(val.path(picture), label=val.labels[picture])
explanation.draw("layers", true_boxes=val.boxes[picture])

# %% [markdown]
# The semantic map of the class, the attention map, and their product, which gives the box:

# %%
explanation.draw("coupling", true_boxes=val.boxes[picture])

# %% [markdown]
# ## Five classes, five boxes
#
# Top-5 Loc counts a picture if one of the five most likely classes is correct *and* has a correct box. Each class has
# its own map:

# %%
explanation.draw("classes", true_boxes=val.boxes[picture])

# %% [markdown]
# ## Several objects
#
# If a picture shows several objects of its class, each has a ground-truth box, and a box counts if it matches any of
# them. A method gives one box per class, around the largest region. If the regions of two objects merge, the box
# encloses both: *multi-instance* in the list of errors below.

# %%
several = [int(index) for index in np.flatnonzero(box_counts > 1)]


def draw_couplings(indices):
    """Draw the coupling in some pictures, one below the other."""
    pages = []
    for index in indices:
        page = explainer(val.path(index), label=val.labels[index])
        pages.append(page.draw("coupling", true_boxes=val.boxes[index]))
    return sheet(pages, columns=1)


draw_couplings(several[len(several) * part // 6] for part in (1, 3, 5))

# %% [markdown]
# Any other class can be explained, by name or by number. Attention is the same for all classes; the semantic map is
# not. The next cell takes the least certain of some pictures, and explains its two most likely classes:

# %%
sample = range(0, len(val), max(1, len(val) // 50))
localizations = tscam.load(MODEL)([val.path(index) for index in sample], top_k=2)
unsure = min(localizations, key=lambda localization: localization.objects[0].score if localization.objects else 1.0)
first, second = explainer(unsure.image).classes[:2]
print(f"{Path(unsure.image).name}: {first.caption}, then {second.caption}")
both = [explainer(unsure.image, label=likely.class_id) for likely in (first, second)]
sheet([page.draw("coupling") for page in both], columns=1)

# %% [markdown]
# ## Scores
#
# `val` has 50,000 pictures, so a GPU is recommended. One pass over the pictures gives the numbers of several
# [protocols](../evaluation.md). `ts-cam` is the protocol of the paper, at the model's threshold. *cls*: the class is
# correct. *loc*: the class is correct and its box overlaps a ground-truth box by more than half. *GT-known loc*: the
# box of the correct class overlaps. `max-box-acc` is GT-known loc at the threshold that is best on the scored pictures.
# MaxBoxAccV2 is the mean over IoU ≥ 0.3, 0.5 and 0.7, each at its best threshold, and the best of all boxes of a map
# counts. Brackets give the interval that contains the number for 95 of 100 bootstrap samples of the pictures.

# %%
protocols = ("ts-cam", "max-box-acc", "max-box-acc-v2")
config = tscam.EvaluateConfig(data=DATA, split="val", protocol=protocols, out=OUT / "scores", overwrite=True)
evaluation = tscam.evaluate(MODEL, config)
print(evaluation.describe())

# %% [markdown]
# The charts show the outcomes for the box of the most likely class, and compare pictures of one object with pictures of
# several. Open `OUT / "scores/report.html"` in a browser for more: every protocol, the errors at every threshold, and
# the best and the worst pictures of each outcome.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
result = evaluation.results["ts-cam"]
errors = result.columns.errors()
left.barh(list(errors), list(errors.values()), color="#0072B2")
left.invert_yaxis()
left.set(xlabel="pictures")
gt_known = {group.name: group.scores["gt_known_loc"] for group in result.by_count}
right.bar(list(gt_known), list(gt_known.values()), color="#0072B2", width=0.5)
right.set(ylim=(0, 100), ylabel="GT-known loc, %")
plt.show()

# %% [markdown]
# The worst boxes of pictures with a correct class:

# %%
correct_class = np.flatnonzero(result.columns.measures["top1_cls"])
worst = correct_class[np.argsort(result.columns.iou[correct_class], kind="stable")][:3]
draw_couplings(worst.tolist())

# %% [markdown]
# ## The same weights with other methods
#
# A method uses what the network computes: `cam` only the semantic map, `attention` and `rollout` only the attention,
# `grad-cam` the gradients. Each has its own best threshold. The first three columns are at the model's threshold,
# MaxBoxAccV2 is at the best threshold of each method.

# %%
explanation.draw("methods", true_boxes=val.boxes[picture])

# %%
print("                top-1 loc  top-5 loc  GT-known loc  MaxBoxAccV2")
for method in ("ts-cam", "attention", "cam"):
    config = tscam.EvaluateConfig(
        data=DATA, split="val", method=method, protocol=("ts-cam", "max-box-acc-v2"), out=OUT / method, overwrite=True
    )
    results = tscam.evaluate(MODEL, config).results
    paper, v2 = results["ts-cam"].scores, results["max-box-acc-v2"].scores["max_box_acc_v2"]
    top1, top5, known = (paper[name].value for name in ("top1_loc", "top5_loc", "gt_known_loc"))
    print(f"{method:<14}{top1:11.1f}{top5:11.1f}{known:14.1f}{v2.value:13.1f}")
