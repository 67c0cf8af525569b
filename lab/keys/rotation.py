"""Rotation: every image of a batch about its centre, each by its own angle.

Shapes: images, result (N, C, H, W), uint8    angles (N,), degrees, positive is counter-clockwise
as displayed (rows go down)
"""

import numpy as np


def rotate(images, angles, fill=0):
    """Return the rotated images: same shape and dtype, images unchanged.

    For every pixel (row, column) of the result, find where it comes from, and take the value of
    the pixel that holds this point (nearest neighbour); where that lies outside of the image, take
    fill. The pixel (i, j) covers the square i..i+1, j..j+1; its centre is (i + 0.5, j + 0.5), and
    the centre of the image is (H / 2, W / 2).
    """
    # Your code: loop over the images, not over pixels: np.mgrid gives all rows and columns at once
    n, _, height, width = images.shape
    result = np.full_like(images, fill)
    rows, columns = np.mgrid[:height, :width] + 0.5
    rows, columns = rows - height / 2, columns - width / 2
    for i in range(n):
        angle = np.radians(angles[i])
        cos, sin = np.cos(angle), np.sin(angle)
        x = np.floor(cos * columns - sin * rows + width / 2).astype(int)
        y = np.floor(sin * columns + cos * rows + height / 2).astype(int)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        result[i][:, inside] = images[i][:, y[inside], x[inside]]
    return result
    # End of your code
