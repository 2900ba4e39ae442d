# %% [markdown]
# # Your own pictures: from folders to boxes
#
# Pictures sorted by class go in: a folder a class, `pictures/train/fox/…`, `pictures/train/owl/…`, and some others in
# `pictures/test/fox/…`. No box is drawn by anybody. Out come boxes, an annotation file, and drawings. `NEW` is a
# folder of pictures of these classes that are to be boxed.

# %% tags=["parameters"]
from pathlib import Path

DATA = Path("pictures")
NEW = Path("new_pictures")
RECIPE = "own/dinov2-small"  # fetches its start weights; a GPU is advised
OUT = Path("runs/own")

# %%
from PIL import Image

import tscam
from tscam.drawing import sheet
from tscam.localizer import find_pictures

# %% [markdown]
# ## Is everything there?
#
# Every picture is opened once. What cannot be read, or lies in two splits, is named here and not in the middle of the
# night.

# %%
print(tscam.datasets.check_dataset(DATA).describe())

# %% [markdown]
# ## Train
#
# Only the names of the folders are learnt from. A part of the training pictures is held out, and the epoch that is
# best on them is kept. If this is stopped, `tscam.resume(OUT / "run")` goes on where it was; a run that is there is
# never written over.

# %%
config = tscam.train_config(RECIPE, data=DATA, out=OUT / "run")


def show(progress):
    if row := progress.row:
        print(f"epoch {row.epoch}: loss {row.train_loss:.2f}, held-out pictures right {row.top1_cls:.1f} %")


run = tscam.train(config, on_progress=show)

# %% [markdown]
# The run folder has the curves, and the model under `weights/best`, which is what the folder means wherever a model
# is asked for:

# %%
curves = Image.open(run / "results.png")
curves.reduce(2)

# %% [markdown]
# ## Is it any good?
#
# If the test pictures have boxes (`boxes.csv`, COCO's JSON or Pascal VOC's XML beside the folders), the result is
# scored. If not, look at some: the next section works without. `OUT / "scores/report.html"` is a page
# for the browser: the scores at every threshold, and the best and the worst boxes.

# %%
test = tscam.datasets.read_dataset(DATA, split="test")
if test.boxes is not None:
    config = tscam.EvaluateConfig(data=DATA, split="test", out=OUT / "scores", overwrite=True)
    print(tscam.evaluate(run, config).describe())

# %% [markdown]
# ## Find objects in new pictures
#
# Paths go in, and for each picture out comes what was found: class, score, and the box in pixels of the picture.

# %%
localizer = tscam.load(run)
found = localizer(find_pictures([NEW]))
for one in found[:10]:
    for thing in one.objects:
        box = [round(edge) for edge in thing.box]
        print(f"{Path(one.image).name}: {thing.label} {100 * thing.score:.0f} %, box {box}")

# %%
sheet([tscam.draw(one) for one in found[:4]], columns=2)

# %% [markdown]
# Boxes too large or too small? Move the threshold, the fraction of the map's maximum above which is object. This
# model has its own, chosen on held-out boxes where there are some. More than one class a picture: `top_k=2`.

# %%
print(f"the model's own threshold: {localizer.predictor.threshold:g}")
thresholds = (0.1, 0.3, 0.6)
picture = found[len(found) // 2].image
at_thresholds = [localizer([picture], threshold=threshold)[0] for threshold in thresholds]
sheet([tscam.draw(one) for one in at_thresholds], columns=1)

# %% [markdown]
# ## Annotation files
#
# For whatever trains or corrects boxes next. `tscam.formats.formats` has the names of the formats.

# %%
for path in tscam.write_annotations(found, OUT / "coco", to="coco"):
    print(f"{path.relative_to(OUT)}: {path.stat().st_size} bytes")

# %% [markdown]
# Thousands of pictures do not go through a list: this writes a line a picture as it is finished, the annotation
# files, and with `draw=True` a drawing of each, and names those that cannot be read. `tscam localize` is the same on
# the command line.

# %%
config = tscam.LocalizeConfig(out=OUT / "found", to=("coco",), draw=True, overwrite=True)
folder = tscam.localize([NEW], model=run, config=config)
for path in sorted(folder.rglob("*.*"))[:8]:
    print(path.relative_to(folder))

# %% [markdown]
# ## Why here?
#
# What the model saw in one picture: attention layer by layer, what it was coupled with, and the same weights read by
# other methods.

# %%
seen = tscam.Explainer(run)(picture)
sheet([seen.draw(page) for page in ("layers", "coupling", "methods")], columns=1)
