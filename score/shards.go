package score

import (
	"fmt"
	"strconv"
)

// indexes are the variables in which engines tell a process its number, from
// 0, those that go before others first.
var indexes = []string{
	"JOB_COMPLETION_INDEX",      // Kubernetes, of an Indexed Job
	"AWS_BATCH_JOB_ARRAY_INDEX", // AWS Batch
	"BATCH_TASK_INDEX",          // Google Batch
	"SLURM_ARRAY_TASK_ID",       // Slurm, with --array=0-N
}

// Indexes returns the names of the variables that tell a process its shard.
func Indexes() []string { return append([]string(nil), indexes...) }

// Place says which of so many shards a process takes: the one that is given,
// or, with -1, the one that the environment tells. Of one shard it is 0. An
// environment that tells a shard where nothing says of how many is an error.
func Place(shards, shard int, getenv func(string) string) (int, error) {
	if shard >= 0 {
		if shards == 0 {
			return 0, fmt.Errorf("--shard %d without --shards, want both", shard)
		}
		if shard >= shards {
			return 0, fmt.Errorf("--shard %d of --shards %d, want 0 to %d", shard, shards, shards-1)
		}
		return shard, nil
	}
	for _, name := range indexes {
		value := getenv(name)
		if value == "" {
			continue
		}
		n, err := strconv.Atoi(value)
		switch {
		case shards == 0:
			return 0, fmt.Errorf("%s=%s says that this is one of several processes: want --shards", name, value)
		case err != nil || n < 0 || n >= shards:
			return 0, fmt.Errorf("%s=%s, want 0 to %d, for --shards %d", name, value, shards-1, shards)
		}
		return n, nil
	}
	if shards > 1 {
		return 0, fmt.Errorf("--shards %d, but neither --shard nor %s says which", shards, indexes[0])
	}
	return 0, nil
}
