# Every line is one promise of `aegis run`.
run() { aegis run --policy "$T/agent.yaml" --name "$AGENT" -- "$@"; }

run true; echo "= zero $?"
run sh -c 'exit 7'; echo "= seven $?"
run sh -c 'kill -TERM $$'; echo "= killed-by-term $?"
run "$T/work/there-is-no-such-program" 2> /dev/null; echo "= not-found $?"
run "$T/work/plain" 2> /dev/null; echo "= not-executable $?"
cp /usr/bin/true "$T/work/dropped"
run "$T/work/dropped" 2> /dev/null; echo "= denied-program $?"
aegis run --policy "$T/there-is-none" --name "$AGENT" -- true 2> /dev/null; echo "= no-manifest $?"
printf 'version: "1.0"\nagent: {name: x}\npermissions: {fs: {raed: ["/"]}}\n' > "$T/bad.yaml"
aegis run --policy "$T/bad.yaml" --name "$AGENT" -- touch "$T/work/ran" 2> /dev/null; echo "= bad-manifest $?"
[ -e "$T/work/ran" ] && echo "= bad-manifest-ran-nothing no" || echo "= bad-manifest-ran-nothing yes"
said=$(echo in | run sh -c 'read word; printf "%s:out" "$word"; printf :err >&2' 2>&1); echo "= streams $said"
said=$(run printf '%s|' 'a b' '*' '$x'); echo "= arguments $said"
export MARK=kept; said=$(run sh -c 'echo $MARK'); echo "= environment $said"
said=$(run sh -c 'echo "$TMPDIR"; touch "$TMPDIR/x" && echo written')
case $said in /*written) [ -e "${said%%
*}/x" ] && echo "= tmpdir-is-its-own left-behind" || echo "= tmpdir-is-its-own yes" ;; *) echo "= tmpdir-is-its-own $said" ;; esac
