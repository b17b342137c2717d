// Command schoolgate is a school's internet filter on one box.
package main

func main() {}
