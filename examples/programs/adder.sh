#!/bin/sh
# Speaks lines of JSON: {"function":"add","arguments":[1,2]} is answered with {"result":3}.
while IFS= read -r line; do
  case $line in
    '{"function":"add","arguments":['*']}')
      arguments=${line#*'['}
      arguments=${arguments%']'*}
      echo "{\"result\":$((${arguments%%,*} + ${arguments#*,}))}" ;;
    *) echo '{"error":"only add is known here"}' ;;
  esac
done
