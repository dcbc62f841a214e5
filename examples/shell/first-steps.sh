#!/bin/sh
# From a checkpoint to a mask: first-steps.sh CHECKPOINT GOLDEN CALIBRATION IMAGE x0,y0,x1,y1 OUT
set -eu
checkpoint=$1 golden=$2 calibration=$3 image=$4 box=$5 out=$6
mkdir -p "$out"
syncsam-convert doctor
syncsam-convert inspect "$checkpoint"
syncsam-convert build "$checkpoint" -o "$out/float" --golden "$golden"                                # nothing is left there when the golden results are not met
syncsam-convert build "$checkpoint" -o "$out/int8" --precision int8 --calib "$calibration" --golden "$golden"
syncsam-convert run "$out/int8" --image "$image" --box "$box" -o "$out/mask.png"
