# input: {"name": "Ünïcode naïve", "list": ["b", "a"]}
package t

cased := [upper(input.name), lower(input.name), count(input.name)]

cut := [substring(input.name, 0, 4), substring("hello", 1, -1), substring("hello", 9, 1), indexof("hello", "l"), indexof_n("hello", "l")]

trimmed := [trim("xxaxx", "x"), trim_left("xxa", "x"), trim_right("axx", "x"), trim_prefix("pre-a", "pre-"), trim_suffix("a.go", ".go"), trim_space("  a ")]

split_up := [split("a,b,,c", ","), split("abc", ""), concat("-", input.list), concat("", {"z", "y"})]

replaced := [replace("aaa", "a", "b"), strings.replace_n({"a": "1", "b": "2"}, "abc")]

tested := [startswith("abc", "ab"), endswith("abc", "bc"), contains("abc", "x"), strings.any_prefix_match(["abc"], ["x", "a"]), strings.any_suffix_match("abc", "bc")]

formatted := [
	sprintf("%v %v %v", ["a", 1, [1, "b", {"c": null}]]),
	sprintf("%d %5d|%-5d|%05d", [1, 2, 3, 4]),
	sprintf("%s %q", ["text", "quoted"]),
	sprintf("%x %X %o %b %c", [255, 255, 8, 5, 65]),
	sprintf("%.2f %e", [3.14159, 12345.678]),
	sprintf("%v", [{"set", "of", "three"}]),
	sprintf("%d", ["text"]),
	sprintf("only %v", []),
	sprintf("%%", []),
	sprintf("%t", [true]),
]

reversed := strings.reverse("añb")

counted := strings.count("cheese", "e")

regexes := [
	regex.match("^[a-z]+$", "abc"),
	regex.find_n("[0-9]+", "1 22 333", 2),
	regex.split(",\\s*", "a, b,c"),
	regex.replace("foobar", "o(b)", "<$1>"),
	regex.find_all_string_submatch_n("(a)(b)?", "ab a", -1),
	regex.is_valid("["),
	regex.template_match("urn:foo:{.*}", "urn:foo:bar:baz", "{", "}"),
]

globs := [
	glob.match("*.github.com", ["."], "api.github.com"),
	glob.match("*.github.com", [], "api.cdn.github.com"),
	glob.match("**.github.com", ["."], "api.cdn.github.com"),
	glob.match("{a,b}?", null, "bc"),
	glob.match("[!a-c]", [], "d"),
	glob.quote_meta("*.x"),
]

