#!/bin/bash
# How long a covered call waits for a sidecar that is not there: PENSTOCK_WAIT in all its forms.
#   run_wait.sh LIBRARY
set -u
failed=0
# What is set, and the milliseconds that it means.
while read -r wait ms; do
  # Never shorter. A busy machine makes one longer, but not three in a row; the next value up is further
  # away than the bound.
  for _ in 1 2 3; do
    start=$(date +%s%N)
    said=$(LC_ALL=C LD_PRELOAD=$1 PENSTOCK_SOCKET=/nonexistent/job.sock \
           PENSTOCK_PATHS=/penstock-test/data PENSTOCK_WAIT=$wait \
           timeout 20 cat /penstock-test/data/file 2>&1)
    took=$((($(date +%s%N) - start) / 1000000))
    [ $took -gt $((ms + 900)) ] || break
  done
  if [[ $said != *"Input/output error"* ]] || [ $took -lt "$ms" ] || [ $took -gt $((ms + 900)) ]; then
    echo "PENSTOCK_WAIT=$wait: $took ms in place of $ms: $said"
    failed=1
  fi
done <<'W'
0 0
0.25s 250
1.5s 1500
1.5 1500
300.5ms 300
0.02m 1200
0.0003h 1080
2 2000
W
exit $failed
