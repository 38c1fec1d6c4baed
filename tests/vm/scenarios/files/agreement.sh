# Notes of `aegis run` about links that an agent could have made are no news here.
exec /usr/lib/aegis-tests/aegis-agreement run --questions "$([ "$EXTENT" = whole ] && echo 100000 || echo 2000)" 2>/dev/null
