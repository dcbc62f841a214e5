#!/bin/sh
# Runs every fuzz target for its share of so many minutes on two cores and prints its executions: fuzz.sh MINUTES [PATTERN]. What falls is left in the
# package's testdata/fuzz, and the exit status is 1. Go's fuzzing before 1.27 may end with its own deadline as an error
# (golang/go#75804): where it left no input that is no failure.
set -u
go=${GO:-go}
list=$(grep -rno --include='*_test.go' '^func Fuzz[A-Za-z]*' . | sed 's|^\./\(.*\)/[^/]*:[0-9]*:func \(.*\)|\1 \2|' | sort | grep "${2:-.}")
count=$(printf '%s\n' "$list" | wc -l)
seconds=$(($1 * 60 / count))
[ "$seconds" -gt 0 ] || seconds=1
failed=0
printf '%s targets, %s seconds each\n' "$count" "$seconds"
while read -r package target; do
  log=$($go test -run '^$' -fuzz "^$target\$" -fuzztime "${seconds}s" -fuzzminimizetime 20x -parallel 2 "./$package" 2>&1)
  status=$?
  printf '%-36s %-20s %s\n' "$package" "$target" "$(printf '%s\n' "$log" | grep -o 'execs: [0-9]*\|new interesting: [0-9]* (total: [0-9]*)' | tail -2 | tr '\n' ' ')"
  if [ $status -ne 0 ] && ! { printf '%s\n' "$log" | grep -q '^ *context deadline exceeded$' && ! printf '%s\n' "$log" | grep -q 'Failing input\|panic\|fatal error'; }; then
    failed=1
    printf '%s\n' "$log" | tail -25
  fi
done <<LIST
$list
LIST
exit $failed
