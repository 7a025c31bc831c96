module scalesets.dev/sample

go 1.26.0
