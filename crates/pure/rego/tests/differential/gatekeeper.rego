# v0
# input: {"review": {"object": {"metadata": {"labels": {"app": "x", "owner": "nobody!"}}, "spec": {"containers": [{"name": "a", "image": "nginx:latest", "resources": {"limits": {"memory": "2Gi"}}}, {"name": "b", "image": "ok/app:1"}]}}}, "parameters": {"labels": [{"key": "owner", "allowedRegex": "^[a-z]+$"}, {"key": "team"}], "repos": ["ok/"], "memory": "1Gi"}}
package t

violation[{"msg": msg, "details": {"missing": missing}}] {
  provided := {label | input.review.object.metadata.labels[label]}
  required := {label | label := input.parameters.labels[_].key}
  missing := required - provided
  count(missing) > 0
  msg := sprintf("you must provide labels: %v", [missing])
}

violation[{"msg": msg}] {
  value := input.review.object.metadata.labels[key]
  expected := input.parameters.labels[_]
  expected.key == key
  expected.allowedRegex != ""
  not re_match(expected.allowedRegex, value)
  msg := sprintf("Label <%v: %v> does not satisfy allowed regex: %v", [key, value, expected.allowedRegex])
}

violation[{"msg": msg}] {
  container := input.review.object.spec.containers[_]
  satisfied := [good | repo = input.parameters.repos[_]; good = startswith(container.image, repo)]
  not any(satisfied)
  msg := sprintf("container <%v> has an invalid image repo <%v>", [container.name, container.image])
}

violation[{"msg": msg}] {
  container := input.review.object.spec.containers[_]
  not container.resources.limits.memory
  msg := sprintf("container <%v> has no memory limit", [container.name])
}

size("") = 1 { true }
size("Ki") = 1024 { true }
size("Mi") = 1048576 { true }
size("Gi") = 1073741824 { true }

suffix(text) = out { count(text) > 2; out := substring(text, count(text) - 2, -1); size(out) }
suffix(text) = "" { not size(substring(text, count(text) - 2, -1)) }

amount(text) = out { s := suffix(text); out := to_number(replace(text, s, "")) * size(s) }

violation[{"msg": msg}] {
  container := input.review.object.spec.containers[_]
  amount(container.resources.limits.memory) > amount(input.parameters.memory)
  msg := sprintf("container <%v> wants too much memory", [container.name])
}

lists["x"] = y { y := [1, 2] }
all_true { all([true, true]) }
set_of_sets = {{1}, {2}}
