module github.com/kneo-go/kneo/tools/dev

go 1.26.0
