#!/bin/sh
# Verifies and calibrates plainly, in 7 shards and as Slurm array jobs of 16 tasks, of which two are killed and requeued, on a Slurm of one node that
# is started here as root and ended again. All must come out the same to the bit.
# FLAGS are more flags of verify.
#   check_slurm.sh PROGRAM ARTIFACT CHECKPOINT DATA CALIBRATION FOLDER
set -eu
program=$(realpath "$1") artifact=$(realpath "$2") checkpoint=$(realpath "$3") data=$(realpath "$4") calibration=$(realpath "$5")
here=$(realpath "$(dirname "$0")/..")
rm -rf "$6" && mkdir -p "$6" && cd "$6"
dir=$PWD

echo "plain, and 7 shards"
"$program" verify "$artifact" --data "$data" ${FLAGS:-} --items plain.csv --json plain.json >plain.txt
for i in 5 2 7 1 3 6 4; do "$program" verify "$artifact" --data "$data" ${FLAGS:-} --shard $i/7 --items seven-$i.csv >/dev/null; done
"$program" merge seven-?.csv seven-3.csv -o seven.csv
cmp plain.csv seven.csv
"$program" verify "$artifact" --data "$data" ${FLAGS:-} --items seven.csv --resume --json seven.json | cmp - plain.txt
same() { # reports are equal but for the times of their runs
  for r in plain.json "$1"; do grep -vE '^ "(started|finished)": ' "$r" >"$r.timeless"; done
  cmp plain.json.timeless "$1.timeless"
}
same seven.json

export SLURM_CONF=$dir/slurm.conf
host=$(hostname -s)
pids=
finish() {
  scancel -u root >/dev/null 2>&1 || true
  for p in $pids $(cat run/*.pid 2>/dev/null); do kill "$p" 2>/dev/null || true; done
  sleep 2
  for p in $pids; do kill -9 "$p" 2>/dev/null || true; done
}
trap finish EXIT
mkdir -p munge state spool run out
chmod 700 munge
head -c 1024 /dev/urandom >munge/key && chmod 400 munge/key
munged --foreground --force --socket=$dir/run/munge --key-file=$dir/munge/key --log-file=$dir/munge/log --pid-file=$dir/run/munged.pid --seed-file=$dir/munge/seed >munge.out 2>&1 &
pids="$!"
cat >slurm.conf <<CONF
ClusterName=check
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=17817
SlurmdPort=17818
AuthType=auth/munge
AuthInfo=socket=$dir/run/munge
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
RebootProgram=/bin/false
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=3000 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
for i in $(seq 50); do test -S run/munge && break; sleep 0.1; done
slurmctld -D >slurmctld.out 2>&1 &
pids="$pids $!"
slurmd -D -N "$host" >slurmd.out 2>&1 &
pids="$pids $!"
for i in $(seq 300); do sinfo -h -o %t 2>/dev/null | grep -q idle && break; sleep 0.3; done
sinfo
slurmctld -V

export CONVERT="$program" ARTIFACT="$artifact" DATA="$data" OUT="$dir/out" SHARDS=16
state() { scontrol show job "$1" -o | sed 's/.* JobState=\([A-Z_]*\).*/\1/'; }
wait_for() { # JOB... until all are complete
  for i in $(seq 3000); do squeue -h -j "$1" >left 2>/dev/null || true; test -s left || return 0; sleep 0.2; done
  echo "job $1 does not end"; squeue; exit 1
}
job=$(sbatch --parsable --mem=0 --output="$dir/task-%a.log" "$here/examples/cluster/slurm/verify.sbatch")
task() { # TASK: the process that measures it
  for p in /proc/[0-9]*; do
    { tr '\0' ' ' <"$p/cmdline" | grep -qF -- " --shard $1/16 --items $dir/out/part-$1.csv "; } 2>/dev/null && echo "${p#/proc/}" && return
  done
}
kill_in_the_middle() { # TASK HOW: when some of its items are measured; it stands still until then
  part=out/part-$1.csv.measured pid=
  for i in $(seq 1000); do
    pid=$(task "$1" || true)
    test -n "$pid" && break
    sleep 0.05
  done
  for i in $(seq 100000); do test -s "$part" && break; done
  kill -STOP "$pid"
  case $2 in
  requeue) scontrol requeue "${job}_$1" ;;
  kill)
    kill -KILL "$pid"
    for k in $(seq 200); do test "$(state "${job}_$1")" = FAILED && break; sleep 0.1; done
    scontrol requeue "${job}_$1"
    ;;
  esac
  if grep -q '^{"items":' "$part"; then echo "task $1 had ended before it was killed"; exit 1; fi
  echo "task $1, process $pid: killed ($2) with $(wc -l <"$part") items, requeued"
}
kill_in_the_middle 2 requeue
kill_in_the_middle 5 kill
wait_for "$job"
for i in 2 5; do scontrol show job "${job}_$i" -o | grep -o 'Restarts=[0-9]*'; done | tee restarts
test "$(grep -c Restarts=1 restarts)" = 2
merged=$(sbatch --parsable --mem=0 --output="$dir/merge.log" "$here/examples/cluster/slurm/merge.sbatch")
wait_for "$merged"
cat merge.log
cmp plain.csv out/items.csv
same out/report.json

export CHECKPOINT="$checkpoint" DATA="$calibration"
"$program" calibrate "$checkpoint" --calib "$calibration" -o plain.safetensors
job=$(sbatch --parsable --mem=0 --output="$dir/calibrate-%a.log" "$here/examples/cluster/slurm/calibrate.sbatch")
wait_for "$job"
"$program" merge out/part-*.safetensors -o merged.safetensors
cmp plain.safetensors merged.safetensors
echo "verify: plain, 7 shards and 16 Slurm tasks, two of them killed: the same items and report to the bit; calibrate: plain and 16 tasks: the same file"
