module github.com/kneo-go/kneo/tools/lint

go 1.26.0
