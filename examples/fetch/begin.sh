# What the examples here begin with: the program, a folder that is removed at the end, and a shop of 200 pages to fetch from.
# Sourced by the others; not to be run by itself.
set -euo pipefail
cd "$(dirname "$0")"
# ANABRANCH=FILE runs that binary instead of building one.
anabranch=${ANABRANCH:-$PWD/../../target/release/anabranch}
[ -n "${ANABRANCH:-}" ] || (cd ../.. && cargo build --quiet --release --bin anabranch)

folder=$(mktemp -d)
children=()
stop() {
  if [ ${#children[@]} -gt 0 ]; then
    kill "${children[@]}" 2>/dev/null || true
    wait "${children[@]}" 2>/dev/null || true
  fi
  rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

# The shop: a front page, 9 categories, and 190 products. Each page has an ETag, so that it can be asked whether it has changed.
shop_mocks() {
  local category product first
  echo 'upstreams:'
  echo '  shop:'
  echo '    latency: 20ms..80ms'
  echo '    routes:'
  echo '      GET /robots.txt: { text: "User-agent: *\nDisallow: /cart\n" }'
  echo "      GET /**: { when: { headers: { If-None-Match: '\"v1\"' } }, status: 304 }"
  page / "<h1>Shop</h1><a href=/cart>Cart</a>$(for category in $(seq 9); do echo -n "<a href=/category/$category>$category</a>"; done)"
  for category in $(seq 9); do
    first=$(((category - 1) * 21 + 1))
    page "/category/$category" "<h1>Category $category</h1>$(for product in $(seq $first $((first + 21))); do
      [ "$product" -le 190 ] && echo -n "<a href=/product/$product>$product</a>"; done)"
  done
  for product in $(seq 190); do
    page "/product/$product" "<h1>Product $product</h1><b class=price>$((product * 7 % 90 + 10)).50</b><a href=/>back</a>"
  done
  echo '  orders:'
  echo '    latency: 10ms..30ms'
  echo '    errors: { rate: 5%, status: 503 }'
  echo '    routes:'
  echo '      POST /orders: { echo: true }'
}

page() {
  printf "      GET %s: { text: '<html><body>%s</body></html>', headers: { Content-Type: text/html, ETag: '\"v1\"' } }\n" "$1" "$2"
}

# Sets shop and orders to the URLs of the two.
start_mocks() {
  shop_mocks >"$folder/mocks.yaml"
  exec 3< <(exec "$anabranch" mock "$folder/mocks.yaml" 2> >(grep "^error" >&2))
  children+=($!)
  read -r _ shop <&3 && read -r _ orders <&3 || { echo "error: the mocks do not start" >&2; exit 3; }
}

# Shows a command and runs it.
show() {
  printf '\n$ %s\n' "anabranch ${*//$folder\//}" >&2
  (cd "$folder" && "$anabranch" "$@")
}
