cd /work/scenario
python3 -SB coreutils_tests.py
exec python3 -B python_tests.py
