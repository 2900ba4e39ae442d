# %% [markdown]
# # Your own pictures: from folders to boxes
#
# The input is pictures sorted by class, one folder per class: `pictures/train/fox/…`, `pictures/train/owl/…`, and some
# others in `pictures/test/fox/…`. Nobody has to draw a box. The output is boxes, an annotation file and drawings. `NEW`
# is a folder of new pictures of these classes, in which the objects are to be localized.

# %% tags=["parameters"]
from pathlib import Path

DATA = Path("pictures")
NEW = Path("new_pictures")
RECIPE = "own/dinov2-small"  # downloads its start weights; a GPU is recommended
OUT = Path("runs/own")

# %%
from PIL import Image

import tscam
from tscam.drawing import sheet
from tscam.localizer import find_pictures

# %% [markdown]
# ## Check the dataset
#
# Every picture is opened once. Pictures that cannot be read, or that are in two splits, are listed here, before hours
# of training.

# %%
print(tscam.datasets.check_dataset(DATA).describe())

# %% [markdown]
# ## Train
#
# The model learns only from the names of the folders. Some of the training pictures are held out, and the epoch that is
# best on them is kept. If training is stopped, `tscam.resume(OUT / "run")` continues it. An existing run is never
# overwritten.

# %%
config = tscam.train_config(RECIPE, data=DATA, out=OUT / "run")


def show(progress):
    if row := progress.row:
        print(f"epoch {row.epoch}: loss {row.train_loss:.2f}, top-1 accuracy on held-out pictures {row.top1_cls:.1f} %")


run = tscam.train(config, on_progress=show)

# %% [markdown]
# The run folder contains the curves, and the model in `weights/best`. Wherever a model is expected, the run folder
# stands for that model.

# %%
curves = Image.open(run / "results.png")
curves.reduce(2)

# %% [markdown]
# ## Evaluate
#
# If the test pictures have boxes (`boxes.csv`, COCO's JSON or Pascal VOC's XML next to the folders), the model is
# scored. If not, look at some results; the next section needs no boxes. Open `OUT / "scores/report.html"` in a browser
# for the scores at every threshold, and for the best and the worst boxes.

# %%
test = tscam.datasets.read_dataset(DATA, split="test")
if test.boxes is not None:
    config = tscam.EvaluateConfig(data=DATA, split="test", out=OUT / "scores", overwrite=True)
    print(tscam.evaluate(run, config).describe())

# %% [markdown]
# ## Localize objects in new pictures
#
# The localizer takes paths and returns a localization for each picture: class, score, and the box in pixels of the
# picture.

# %%
localizer = tscam.load(run)
localizations = localizer(find_pictures([NEW]))
for localization in localizations[:10]:
    for detection in localization.objects:
        box = [round(edge) for edge in detection.box]
        print(f"{Path(localization.image).name}: {detection.label} {100 * detection.score:.0f} %, box {box}")

# %%
sheet([tscam.draw(localization) for localization in localizations[:4]], columns=2)

# %% [markdown]
# If boxes are too large or too small, change the threshold: the fraction of the map's maximum above which is object. By
# default it is the model's threshold, chosen on held-out boxes if there are any. For more than one class per picture,
# set `top_k=2`.

# %%
print(f"the model's threshold: {localizer.predictor.threshold:g}")
thresholds = (0.1, 0.3, 0.6)
picture = localizations[len(localizations) // 2].image
at_thresholds = [localizer(picture, threshold=threshold) for threshold in thresholds]
sheet([tscam.draw(localization) for localization in at_thresholds], columns=1)

# %% [markdown]
# ## Annotation files
#
# Other tools can train on the boxes or correct them. `tscam.formats.formats` lists the formats.

# %%
for path in tscam.write_annotations(localizations, OUT / "coco", to="coco"):
    print(f"{path.relative_to(OUT)}: {path.stat().st_size} bytes")

# %% [markdown]
# Thousands of pictures are too many for a list. `tscam.localize` writes one line per picture as soon as it is done,
# then the annotation files, and with `draw=True` a drawing of each picture; it lists the pictures that cannot be read.
# On the command line, the same is `tscam localize`.

# %%
config = tscam.LocalizeConfig(out=OUT / "found", to=("coco",), draw=True, overwrite=True)
folder = tscam.localize([NEW], model=run, config=config)
for path in sorted(folder.rglob("[!.]*.*"))[:8]:
    print(path.relative_to(folder))

# %% [markdown]
# ## Explain a box
#
# What the model computes for one picture: attention layer by layer, the coupling with the semantic map, and the maps of
# other methods with the same weights.

# %%
explanation = tscam.Explainer(run)(picture)
sheet([explanation.draw(page) for page in ("layers", "coupling", "methods")], columns=1)
