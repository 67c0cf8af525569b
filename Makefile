# The page on which one draws a digit, with the trained LeNet-5 that comes with the library.
page:
	mkdir -p build
	python -m nplenet draw default --output build/page.html --no-open

.PHONY: page
