#!/usr/bin/awk -f
# Prints the failure that ended a run of Molecule: the task, the beginning of what it said, and its end.
# On a terminal Molecule colours the lines and draws a line beside them.
{ gsub(/\033\[[0-9;]*m/, ""); sub(/^  │ ?/, "") }
/^(TASK|RUNNING HANDLER) \[/ { task = $0 }
/^(fatal|failed): \[/ && !/FAILED - RETRYING/ { failed = task; count = 0; open = 1 }
/^(PLAY RECAP|TASK \[|PLAY \[)/ { open = 0 }
# The tasks that changed something again follow it; those that failed before were mended.
ended && /^\*/ { critical = critical "\n" $0; next }
ended { exit }
/^(CRITICAL|ERROR) / { critical = $0; ended = 1; open = 0 }
/^CRITICAL Idempotence/ { failed = ""; count = 0 }
open { lines[++count] = substr($0, 1, 800) }
END {
    print failed
    for (number = 1; number <= count; number++) {
        if (number <= 8 || number > count - 40) print lines[number]
        else if (number == 9) print "    […]"
    }
    print critical
}
