# What jq 1.7 has and the interpreter's library lacks or does otherwise. Some of it is as in jq's own `builtin.jq`
# (Copyright (C) 2012 Stephen Dolan, MIT license). Recursive definitions take no filters as arguments: those would
# be kept, one inside the other, for as long as the recursion goes on.

# Conversion
def toboolean: if type == "boolean" then . elif . == "true" then true elif . == "false" then false else error("\(type) (\(.)) cannot be parsed as a boolean") end;
def toarray: if type == "array" then . else [.] end;
def ascii: [.] | implode;
def have_literal_numbers: true;
def have_decnum: true;

# Generators
def repeat(f): def rec: ., (f | rec); rec;
def recurse_down: recurse;
def isvalid(f): try (f | true) catch false;
def add(f): [f] | _sum;
def add: [.[]] | _sum;

# Paths
def del(f): delpaths([path(f)]);
def pick(f): . as $top | reduce path(f) as $path (null; setpath($path; $top | getpath($path)));
def walk(f): def rec: (if type == "object" then map_values(rec) elif type == "array" then map(rec) else . end) | f; rec;
def leaf_paths: paths(scalars);
def tostream: path(def rec: (.[]? | rec), .; rec) as $p | getpath($p) | reduce path(.[]?) as $q ([$p, .]; [$p + $q]);
def fromstream(f): { x: null, e: false } as $init
  | foreach f as $i ($init;
      if .e then $init else . end
      | if $i | length == 2
        then setpath(["e"]; $i[0] | length == 0) | setpath(["x"] + $i[0]; $i[1])
        else setpath(["e"]; $i[0] | length == 1) end;
      if .e then .x else empty end);
def truncate_stream(f): . as $n | null | f | if (.[0] | length) > $n then setpath([0]; .[0][$n:]) else empty end;

# Arrays
def transpose: if . == [] then [] else [range([.[] | length] | max) as $i | [.[][$i]]] end;
def flatten: def rec: .[] | if type == "array" then rec else . end; [rec];
def flatten($depth):
  def rec($left): .[] | if type == "array" and $left > 0 then rec($left - 1) else . end;
  if $depth < 0 then error("flatten depth must not be negative") else [rec($depth)] end;
def in(xs): . as $x | xs | has($x);
def inside(xs): . as $x | xs | contains($x);
def index($i): indices($i) | .[0];
def rindex($i): indices($i) | .[-1:][0];
def combinations: if length == 0 then [] else .[0][] as $x | (.[1:] | combinations) as $w | [$x] + $w end;
def combinations(n): . as $dot | [range(n)] | map($dot) | combinations;

# Objects
def from_entries: reduce .[] as $x ({};
  . + { ($x | if .key == null then .k // .name // .Name // .K // .Key else .key end | if type == "string" then . else tojson end):
        ($x | if has("value") then .value elif has("v") then .v else .Value end) });
def with_entries(f): to_entries | map(f) | from_entries;

# As SQL has it
def INDEX(stream; f): reduce stream as $row ({}; .[$row | f | tostring] |= $row);
def INDEX(f): INDEX(.[]; f);
def GROUP_BY(stream; f): reduce stream as $row ({}; .[$row | f | tostring] += [$row]);
def GROUP_BY(f): GROUP_BY(.[]; f);
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);

# Regular expressions
def _flags($flags): if $flags == null then "" else $flags end;
def _expression($e; f): if $e | type == "array" then ($e[0] as $re | $e[1] as $flags | [$re, _flags($flags)] | f) else [$e, ""] | f end;
def test($re; $flags): _test($re; _flags($flags));
def test($e): . as $text | _expression($e; . as [$re, $flags] | $text | test($re; $flags));
def match($re; $flags): _matches($re; _flags($flags))[];
def match($e): . as $text | _expression($e; . as [$re, $flags] | $text | match($re; $flags));
def _captures: [.captures[] | select(.name != null) | { key: .name, value: .string }] | from_entries;
def capture($re; $flags): match($re; $flags) | _captures;
def capture($e): match($e) | _captures;
def scan($re; $flags): match($re; "g" + _flags($flags)) | if .captures | length > 0 then [.captures[].string] else .string end;
def scan($e): . as $text | _expression($e; . as [$re, $flags] | $text | scan($re; $flags));
def split($re; $flags): [_pieces($re; "g" + _flags($flags))[] | select(type == "string")];
def splits($re; $flags): split($re; $flags)[];
def splits($re): splits($re; null);
def sub($re; f; $flags): reduce _pieces($re; _flags($flags))[] as $piece (""; . + ($piece | if type == "string" then . else _captures | f end));
def sub($re; f): sub($re; f; "");
def gsub($re; f; $flags): sub($re; f; "g" + _flags($flags));
def gsub($re; f): sub($re; f; "g");

# Dates
def date: todate;
def dateadd(unit; n): . + n;
def datesub(unit; n): . - n;

# Formats
def @json: tojson;
def @html: tostring | escape_html;
def @base32: tostring | _to_base32;
def @base32d: tostring | _from_base32;
def _row(name; f): if type == "array" then map(
    if type == "string" then f
    elif type == "number" or type == "boolean" then tojson
    elif . == null then ""
    else error("\(type) (\(.)) is not valid in a \(name) row") end)
  else error("\(type) (\(.)) cannot be \(name)-formatted, only an array can be") end;
def @csv: _row("csv"; "\"" + _replace("\""; "\"\"") + "\"") | join(",");
def @tsv: _row("tsv"; _replace("\\"; "\\\\") | _replace("\t"; "\\t") | _replace("\n"; "\\n") | _replace("\r"; "\\r")) | join("\t");
def @sh: [if type == "array" then .[] else . end
  | if type == "string" then "'" + escape_sh + "'"
    elif type == "array" or type == "object" then error("\(type) (\(.)) can not be escaped for shell")
    else tojson end] | join(" ");
