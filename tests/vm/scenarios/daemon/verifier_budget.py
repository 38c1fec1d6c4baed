import json
import subprocess
from attempt import say

BUDGET = 50_000
status = json.loads(subprocess.run(["aegis", "status", "-o", "json"], check=True, capture_output=True).stdout)
cost = {hook["name"]: hook["verified_instructions"] for hook in status["hooks"] if hook["state"] == "attached"}
dearest = sorted(cost, key=cost.get)[-3:]
print("dearest:", ", ".join(f"{name} {cost[name]:,}" for name in dearest))
say("programs-in-force", "more-than-60" if len(cost) > 60 and all(cost.values()) else str(len(cost)))
say("over-the-budget", ",".join(name for name in dearest if cost[name] > BUDGET) or "none")
