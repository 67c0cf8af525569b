# ruff: noqa: E501
"""Rotation of images: answers."""

from __future__ import annotations

WRONG = [
    ("angle = np.radians(angles[i])", "angle = -np.radians(angles[i])", "direction", "turns clockwise"),
    ("angle = np.radians(angles[i])", "angle = angles[i]", "any angle, an angle per image", "taken as radians"),
    ("angle = np.radians(angles[i])", "angle = np.radians(angles[0])", "any angle, an angle per image", "by the first angle"),
    ("np.mgrid[:height, :width] + 0.5", "np.mgrid[:height, :width] + 0.0", "by 0 and by 180 degrees", "half a pixel off"),
    ("np.floor", "np.trunc", "outside of the image", "is cut towards 0"),
    ("np.floor", "np.round", "any angle, an angle per image", "take floor"),
    ("inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)", "inside = (x < width) & (y < height)", "outside of the image", "negative indices"),
    ("inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)", "x, y = x % width, y % height; inside = x >= 0", "outside of the image", "negative indices"),
    ("inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)", "x, y = x.clip(0, width - 1), y.clip(0, height - 1); inside = x >= 0", "outside of the image", "the border is repeated"),
    ("np.full_like(images, fill)", "np.zeros_like(images)", "outside of the image", "fill is not used"),
    ("    result = np.full_like(images, fill)\n", "    result = np.full(images.shape, fill, float)\n", "direction", "expected uint8"),
    ("rows, columns = rows - height / 2, columns - width / 2", "rows, columns = rows - width / 2, columns - height / 2", "width unlike height", "exchanged where the centre is subtracted"),
    ("    result = np.full_like(images, fill)\n", "    result = images\n", "direction", "writes over an array"),
    ("result[i][:, inside] = images[i][:, y[inside], x[inside]]", "result[i][0, inside] = images[i][0, y[inside], x[inside]]", "colour", "only the first channel is rotated"),
    ("    return result\n", "    return images\n", "direction", "nothing is rotated"),
]  # fmt: skip

RIGHT = {
    "loops over pixels": """
def rotate(images, angles, fill=0):
    n, c, h, w = images.shape
    out = np.full(images.shape, fill, np.uint8)
    for i in range(n):
        a = np.deg2rad(angles[i])
        for row in range(h):
            for column in range(w):
                x, y = column + 0.5 - w / 2, row + 0.5 - h / 2
                sx = int(np.floor(np.cos(a) * x - np.sin(a) * y + w / 2))
                sy = int(np.floor(np.sin(a) * x + np.cos(a) * y + h / 2))
                if 0 <= sx < w and 0 <= sy < h:
                    out[i, :, row, column] = images[i, :, sy, sx]
    return out
""",
    "rounding pixel numbers": """
def rotate(images, angles, fill=0):
    n, c, h, w = images.shape
    out = np.full_like(images, fill)
    y, x = np.indices((h, w), float)
    y -= (h - 1) / 2
    x -= (w - 1) / 2
    for image, result, angle in zip(images, out, np.radians(angles)):
        sx = np.rint(np.cos(angle) * x - np.sin(angle) * y + (w - 1) / 2).astype(int)
        sy = np.rint(np.sin(angle) * x + np.cos(angle) * y + (h - 1) / 2).astype(int)
        ok = (sx >= 0) & (sx < w) & (sy >= 0) & (sy < h)
        result[:, ok] = image[:, sy[ok], sx[ok]]
    return out
""",
    "complex numbers": """
def rotate(images, angles, fill=0):
    n, c, h, w = images.shape
    z = np.arange(w) + 0.5 - w / 2 + 1j * (np.arange(h) + 0.5 - h / 2)[:, None]
    out = []
    for image, angle in zip(images, angles):
        source = z * np.exp(1j * np.pi * angle / 180)
        x, y = np.floor(source.real + w / 2), np.floor(source.imag + h / 2)
        bad = (x < 0) | (x >= w) | (y < 0) | (y >= h)
        x, y = np.where(bad, 0, x).astype(int), np.where(bad, 0, y).astype(int)
        turned = image[:, y, x]
        turned[:, bad] = fill
        out.append(turned)
    return np.stack(out)
""",
    "a frame of fill": """
def rotate(images, angles, fill=0):
    n, c, h, w = images.shape
    framed = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=fill)
    rows, columns = np.mgrid[:h, :w] + 0.5
    a = np.radians(angles)[:, None, None]
    x = np.cos(a) * (columns - w / 2) - np.sin(a) * (rows - h / 2) + w / 2
    y = np.sin(a) * (columns - w / 2) + np.cos(a) * (rows - h / 2) + h / 2
    x = np.clip(np.floor(x), -1, w).astype(int) + 1
    y = np.clip(np.floor(y), -1, h).astype(int) + 1
    return framed[np.arange(n)[:, None, None], :, y, x].transpose(0, 3, 1, 2)
""",
    "a matrix of 2x2": """
def rotate(images, angles, fill=0):
    n, c, h, w = images.shape
    grid = np.stack(np.meshgrid(np.arange(w), np.arange(h))).reshape(2, -1) + 0.5
    center = np.array([[w / 2], [h / 2]])
    flat = images.reshape(n, c, h * w)
    out = np.full_like(flat, fill)
    for i, angle in enumerate(np.radians(angles)):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        x, y = np.floor(turn @ (grid - center) + center).astype(int)
        ok = (x >= 0) & (x < w) & (y >= 0) & (y < h)
        out[i][:, ok] = flat[i][:, y[ok] * w + x[ok]]
    return out.reshape(n, c, h, w)
""",
}
