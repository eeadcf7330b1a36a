# A terminal's place taken by pipes: what goes in, comes out and is kept.
# says: got words
# says: worse
run -di --name $c bb sh -c 'read x; echo got $x; echo worse >&2; exit 4'
{ echo words | docker attach $c || echo $?; } | sort
docker logs $c 2>/dev/null
docker logs $c >/dev/null
