# The page on which one draws a digit, with the trained LeNet-5 that comes with the library.
page:
	mkdir -p build
	python -m nplenet draw default --output build/page.html --no-open

# The book as notebooks without solutions; and the same to run in a browser (pip install '.[lite]').
notebooks:
	python tools/make_notebooks.py notebooks

lite:
	python tools/make_lite.py build/lite $(if $(PYODIDE),--pyodide $(PYODIDE))

.PHONY: page notebooks lite
