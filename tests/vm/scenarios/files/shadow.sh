# What a person would type, and what they would see.
cat /etc/shadow > "$T/work/out" 2> "$T/work/err"
echo "= status $?"
echo "= message $(cat "$T/work/err")"
if [ -s "$T/work/out" ]; then echo "= lines some"; else echo "= lines none"; fi
cat /etc/passwd > /dev/null
echo "= allowed-passwd $?"
