# input: {"image": "a", "list": ["x", "y"], "none": null, "zero": 0, "no": false}
package t

exempt(image, list) if list[_] == image

undefined_argument if not exempt(input.image, input.missing)

defined_argument if not exempt(input.image, input.list)

missing_membership if not input.image in input.missing

membership if not input.image in input.list

compared if not input.missing == 1

null_holds if input.none == null

null_is_defined if input.none

zero_holds if input.zero

false_fails if not input.no

nested if {
	not false
	not not_here
}

not_here if input.nothing.below

every_of_none if {
	every x in [] { x > 1 }
}

every_fails if {
	every x in input.list { x == "x" }
}

every_over_missing if {
	every x in input.missing { x }
}
