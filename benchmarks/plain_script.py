"""Guide A as its notebook has it, cell after cell, with its plots saved as PNG files; nothing is tracked.

    MPLBACKEND=Agg python benchmarks/plain_script.py [EPOCHS]

Writes into the working folder. This is what `single` is compared with.
"""

import json
import sys
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

(train_images, train_labels), (test_images, test_labels) = keras.datasets.fashion_mnist.load_data()
class_names = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip
print(train_images.shape, len(train_labels), train_labels, test_images.shape, len(test_labels))

plt.figure()
plt.imshow(train_images[0])
plt.colorbar()
plt.grid(False)
plt.savefig("first_image.png")
plt.close()

train_images = train_images / 255.0
test_images = test_images / 255.0

plt.figure(figsize=(10, 10))
for i in range(25):
    plt.subplot(5, 5, i + 1)
    plt.xticks([])
    plt.yticks([])
    plt.grid(False)
    plt.imshow(train_images[i], cmap=plt.cm.binary)
    plt.xlabel(class_names[train_labels[i]])
plt.savefig("first_25_images.png")
plt.close()

model = keras.Sequential(
    [
        keras.Input((28, 28)),
        keras.layers.Flatten(),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(10),
    ]
)
model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
model.summary()
model.fit(train_images, train_labels, epochs=EPOCHS)

test_loss, test_accuracy = model.evaluate(test_images, test_labels, verbose=2)
print("Test accuracy:", test_accuracy)

probability_model = keras.Sequential([model, keras.layers.Softmax()])
predictions = probability_model.predict(test_images)
print(predictions[0], np.argmax(predictions[0]), test_labels[0])


def plot_image(i: int) -> None:
    plt.grid(False)
    plt.xticks([])
    plt.yticks([])
    plt.imshow(test_images[i], cmap=plt.cm.binary)
    predicted, true = np.argmax(predictions[i]), test_labels[i]
    color = "blue" if predicted == true else "red"
    share = 100 * np.max(predictions[i])
    plt.xlabel(f"{class_names[predicted]} {share:2.0f}% ({class_names[true]})", color=color)


def plot_probabilities(i: int) -> None:
    plt.grid(False)
    plt.xticks(range(10))
    plt.yticks([])
    bars = plt.bar(range(10), predictions[i], color="#777777")
    plt.ylim((0, 1))
    bars[np.argmax(predictions[i])].set_color("red")
    bars[test_labels[i]].set_color("blue")


for i in (0, 12):
    plt.figure(figsize=(6, 3))
    plt.subplot(1, 2, 1)
    plot_image(i)
    plt.subplot(1, 2, 2)
    plot_probabilities(i)
    plt.savefig(f"prediction_{i}.png")
    plt.close()

rows, columns = 5, 3
plt.figure(figsize=(2 * 2 * columns, 2 * rows))
for i in range(rows * columns):
    plt.subplot(rows, 2 * columns, 2 * i + 1)
    plot_image(i)
    plt.subplot(rows, 2 * columns, 2 * i + 2)
    plot_probabilities(i)
plt.tight_layout()
plt.savefig("predictions.png")
plt.close()

single = probability_model.predict(np.expand_dims(test_images[1], 0))
print(single, np.argmax(single[0]))
plt.figure()
plot_probabilities(1)
plt.xticks(range(10), class_names, rotation=45)
plt.savefig("single_prediction.png")
plt.close()

Path("result.json").write_text(json.dumps({"test_loss": test_loss, "test_accuracy": test_accuracy}))
