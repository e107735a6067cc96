import { globSync, mkdtempSync, readFileSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { cnitool, commandPath, repository } from './harness/locations.js'
import { run } from './harness/process.js'
import { archive, demand, rootFolder } from './roots/place.js'

// Every command that README and the pages in docs/ show, as a reader types it: as root, in the order of the page, on a
// bare Debian, or where the page has commands for the source tree, in blocks that begin with `make`, on this machine's
// disk. What is written stays in memory; there are no network and no containers but those made here.

demand('node-13', 'node-12')

/** Commands that cannot run there, and why. Each stands in some page. */
const elsewhere: readonly (readonly [command: RegExp, why: string])[] = [
  [/^make( +#|$)/, 'it installs packages of Debian; what it builds is built'],
  [/^make test( +#|$)/, 'it runs this very test'],
  [/^make dist$/, 'it installs packages of Debian, and builds for another processor'],
  [/^docker build /, 'needs Docker, and an image from elsewhere'],
  [/^ctr run /, 'needs containerd and an image; conformance/clients runs it'],
  [/^podman /, 'needs Podman 4 and an image; conformance/clients runs it'],
  [/^kind create cluster /, 'needs kind and its image; conformance/roots runs the rest of that recipe'],
  [/^make install CNI_BIN=\$PWD\/cni\/bin$/, 'conformance/roots runs it'],
  [/ examples\/kind\.conflist cni\//, 'conformance/roots runs it'],
  [/^kubectl /, 'needs a cluster'],
  [/^buildkitd /, 'needs BuildKit'],
  [/^systemctl list-timers /, 'needs a systemd that runs'],
]

/** Pages that install podwire themselves; on the others it is there, and a container runs. */
const installing = ['README.md', 'docs/operations.md']

interface Command {
  readonly text: string
  /** The whole of what it stands in: each begins where the reader, or the source tree, is. */
  readonly block: string
}

const pages = ['README.md', ...globSync('docs/**/*.md', { cwd: repository }).sort()]
  .map((page) => ({ page, text: readFileSync(join(repository, page), 'utf8') }))
  .map(({ page, text }) => ({ page, files: filesOf(text), commands: blocksOf(text, 'sh').flatMap(commandsOf) }))
  .filter(({ commands }) => commands.length > 0)

const isForTree = (block: string) => block.startsWith('make')
const isElsewhere = ({ text }: Command) => elsewhere.some(([command]) => command.test(text))

test.each(elsewhere)('%s stands in a page still', (command) => {
  expect(pages.flatMap(({ commands }) => commands).filter(({ text }) => command.test(text))).not.toEqual([])
})

const read = pages.flatMap(({ commands, ...page }) => {
  const here = commands.filter((command) => !isElsewhere(command))
  const forTree = here.some(({ block }) => isForTree(block))
  const roots = forTree ? ['this machine'] : page.page === 'README.md' ? ['node-13', 'node-12'] : ['node-13']
  return here.length === 0 ? [] : roots.map((root) => ({ ...page, root, here, of: commands.length }))
})

describe.each(read)('$page on $root', ({ page, files, root, here, of }) => {
  test(`${here.length} of ${of} commands work`, { timeout: 180_000 }, async () => {
    const stage = installing.includes(page) ? [linked(page)] : [linked(page), installed]
    const script = [prelude, ...stage, ...files.map(writing), ...here.map(typing)].join('\n')
    const folder = root === 'this machine' ? emptyFolder() : rootFolder(root)
    const isolated = ['unshare', '--net', '--mount', '--propagation', 'private', '--']
    const argv = [...isolated, 'bash', '--norc', '-euc', entering, 'bash', folder, script]
    const { status, stdout, stderr } = await run(argv, { env: { PATH: commandPath }, deadline: 170_000 })
    expect(status, `${stdout}\n${stderr}`).toBe(0)
  })
})

// --- internal

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

/** Runs a script, the second parameter, on the root in a folder, the first one; in an empty one this machine's. */
const entering = `
[ "$(ls -A "$1")" ] || mount --bind / "$1"
exec ${quoted(join(repository, 'conformance/roots/enter'))} "$1" bash --norc -c "$2"`

function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'podwire-pages-'))
  onTestFinished(() => rmdirSync(folder))
  return folder
}

/** An uplink, the downloads of a reader, and nothing of CNI but what this page puts there. */
const prelude = `
set -uo pipefail
stop() { echo "$1" >&2; exit 1; }
stage() { "$@" || stop "cannot prepare the machine: $*"; }
stage mount -t sysfs sysfs /sys
stage rm -rf /opt/cni /etc/cni /var/lib/cni /etc/buildkit /usr/lib/cni
stage ip link set lo up
stage ip link add eth0 type veth peer name far
stage ip address add 192.0.2.1/24 dev eth0
stage ip link set eth0 up
stage ip link set far up
stage ip route add default via 192.0.2.2
stage mkdir /run/reader
for file in ${quoted(archive)} ${quoted(`${archive}.sha256`)}; do stage ln -s "$file" /run/reader; done
`

/** The program on PATH, as the README puts it there. */
const linked = (page: string) => (page === 'README.md' ? '' : 'stage ln -s /opt/cni/bin/podwire /usr/local/bin/podwire')

/** podwire as an archive puts it there, a network, a container with a published port, and an address in its way. */
const installed = `
stage mkdir -p /opt/cni/bin
stage mount --bind ${quoted(join(repository, 'dist/bin'))} /opt/cni/bin
stage cp -r ${quoted(join(repository, 'dist/share'))} /opt/cni/bin/podwire-share
stage cp -r ${quoted(join(repository, 'docs'))} ${quoted(join(repository, 'examples'))} /opt/cni/bin/podwire-share
stage install -D -m 644 /opt/cni/bin/podwire-share/examples/containerd.conflist /etc/cni/net.d/10-containerd.conflist
stage ip netns add web
export CNI_PATH=/opt/cni/bin NETCONFPATH=/etc/cni/net.d
export CAP_ARGS='{"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}'
stage ${quoted(cnitool)} add bridge /run/netns/web >/run/result
stage ip address add 10.5.0.1/24 dev cni0
unset CNI_PATH NETCONFPATH CAP_ARGS
`

function writing([name, content]: readonly [string, string]): string {
  const file = quoted(name.startsWith('/') ? name : `/run/reader/${name}`)
  return `stage mkdir -p "$(dirname ${file})"\nprintf %s ${quoted(content)} >${file}`
}

/** Status 1 of `podwire` with `--dry-run` says that it would do something. */
function typing({ text: shown, block }: Command, at: number, all: readonly Command[]): string {
  const text = shown.replace('ARCH=amd64', process.arch === 'x64' ? 'ARCH=amd64' : `ARCH=${process.arch}`)
  const fine = /^podwire .*--dry-run/.test(text) ? '[ $? = 1 ]' : 'false'
  const folder = isForTree(block) ? quoted(repository) : '/run/reader'
  const before = all[at - 1]?.block === block ? '' : `cd ${folder}\n`
  return `${before}echo ${quoted(`$ ${text}`)}\n{ ${text}\n} || ${fine} || stop ${quoted(`this fails: ${text}`)}`
}

/** The blocks of one language, without the indentation they have in a list. */
function blocksOf(text: string, language: string): string[] {
  const found = text.matchAll(new RegExp(`^( *)\`\`\`${language}\\n(.*?)^ *\`\`\`$`, 'gms'))
  return [...found].map(([, indent = '', block = '']) => block.replaceAll(new RegExp(`^${indent}`, 'gm'), ''))
}

/** Its commands: a line that is indented, or ends what another began, belongs to the one before. */
function commandsOf(block: string): Command[] {
  const texts: string[] = []
  for (const line of block.trimEnd().split('\n')) {
    if (/^(\s|done|fi)/.test(line)) texts.push(`${texts.pop()}\n${line}`)
    else texts.push(line)
  }
  return texts.map((text) => ({ text, block }))
}

/** Files that a page shows: a block whose first line names one. */
function filesOf(text: string): [name: string, content: string][] {
  const blocks = ['yaml', 'toml'].flatMap((language) => blocksOf(text, language))
  return blocks.flatMap((block): [string, string][] => {
    const name = /^# (\S+)\n/.exec(block)?.[1]
    return name === undefined ? [] : [[name, block]]
  })
}
