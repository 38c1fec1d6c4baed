"""How real clients are started that read from their input what to ask for, and whom they trust."""

import os
import sys

CERTIFICATES, KIT, HERE = "/run/aegis-clients", "/usr/lib/aegis-clients", os.path.dirname(os.path.abspath(__file__))
COMMANDS = {
    "urllib": [sys.executable, "-SB", f"{HERE}/client_python.py", "urllib"],
    "openai": [sys.executable, "-SB", f"{HERE}/client_python.py", "openai"],
    "node": ["node", f"{HERE}/client_node.mjs"],
    "go": [f"{KIT}/client-go"],
    "java": ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx64m", f"-Djavax.net.ssl.trustStore={CERTIFICATES}/trust.p12",
             "-Djavax.net.ssl.trustStorePassword=public", "-cp", KIT, "Client"],
}
# By the usual means of each.
TRUSTING = {"SSL_CERT_FILE": f"{CERTIFICATES}/ca.pem", "NODE_EXTRA_CA_CERTS": f"{CERTIFICATES}/ca.pem"}
