"""The page on which one draws a digit, in headless Chromium: one file of tests per idea."""
