package kernel

func setVNNI(on bool) { hasVNNI = on }
