import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { nodeCommand, repository, suites, systemCommand } from '../harness/locations.js'

// The image of deploy/podwire.yaml, of this machine's processor.

interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly platform?: { readonly architecture: string }
  readonly annotations?: Readonly<Record<string, string>>
}

const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64'
let folder = ''
let root = ''

beforeAll(() => {
  mkdirSync(join(repository, 'dist/reports'), { recursive: true })
  folder = mkdtempSync(join(repository, 'dist/reports/image-'))
  root = join(folder, 'root')
  mkdirSync(root)
  const file = join(folder, 'image.tar')
  execFileSync(join(repository, 'shared/packing/image'), [file, '1.2.3', `${architecture}=${suites.podwire}`], {
    cwd: repository,
    env: { ...process.env, LEVEL: '1' },
    stdio: 'pipe',
  })
  execFileSync('tar', ['xf', file, '-C', folder])
  const [layer] = manifest().layers
  execFileSync('tar', ['xzf', blobPath(layer as Descriptor), '-C', root])
}, 240_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the image', () => {
  test('is an OCI layout whose digests and sizes hold', () => {
    expect(json(join(folder, 'oci-layout'))).toEqual({ imageLayoutVersion: '1.0.0' })
    const all = [...index().manifests, ...platforms().manifests, manifest().config, ...manifest().layers]
    for (const one of all) {
      const bytes = readFileSync(blobPath(one))
      expect(one.size).toBe(bytes.length)
      expect(one.digest).toBe(`sha256:${createHash('sha256').update(bytes).digest('hex')}`)
    }
    expect(all).toHaveLength(readdirSync(join(folder, 'blobs/sha256')).length)
    expect(index().manifests[0]?.annotations).toMatchObject({ 'io.containerd.image.name': 'localhost/podwire:1.2.3' })
    expect(platforms().manifests.map(({ platform }) => platform?.architecture)).toEqual([architecture])
  })

  test('has the binary once: the names of plugins are links', () => {
    const bin = join(root, 'opt/podwire/bin')
    const names = readdirSync(bin).filter((name) => name !== 'podwire' && name !== 'podwire-lib')
    expect(names).toContain('chain')
    expect(new Set(names.map((name) => statSync(join(bin, name)).ino)).size).toBe(1)
  })

  test('has no shell and no other program', () => {
    const found = execFileSync('find', [root, '-type', 'f', '-perm', '/111', '-printf', '%P\\n'], { encoding: 'utf8' })
    const programs = found.split('\n').filter((name) => name !== '' && !/\.so(\.|$)/.test(name))
    expect(
      programs.every((name) => name.startsWith('opt/podwire/bin/')),
      programs.join(' '),
    ).toBe(true)
  })

  const script = `root=$1; shift
    mount --bind "$root" "$root"; mkdir -p "$root/proc"; mount -t proc proc "$root/proc"
    mount -o remount,bind,ro "$root"; exec chroot "$root" /opt/podwire/bin/podwire "$@"`
  const around = ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-ec', script, 'sh']

  test("reaches an API server by a name of the node's /etc/hosts", async () => {
    const files = { 'etc/hosts': '127.0.0.5 api\n', 'tmp/token': 'token' }
    for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text)
    onTestFinished(() => {
      for (const name of Object.keys(files)) rmSync(join(root, name))
    })
    // A name server that knows no name: without a file that says where it is, it is this one.
    const knowsNone = `require('node:dgram').createSocket('udp4').on('message', function (asked, { port }) {
      asked.writeUInt16BE(0x8183, 2)
      this.send(asked, port)
    }).bind(53, '127.0.0.1')`
    const words = ['agent', '--node', 'x', '--server', 'api:6443', '--service-account', '/tmp', '--listen', ':0']
    const beside = [
      'sh',
      '-ec',
      'ip link set lo up; "$1" "$2" --eval "$3" & shift 3; exec "$@"',
      'sh',
      ...nodeCommand,
      knowsNone,
    ]
    const argv = [
      '--net',
      '--pid',
      '--fork',
      '--kill-child',
      ...beside,
      systemCommand('unshare'),
      ...around,
      root,
      ...words,
    ]
    const agent = spawn(systemCommand('unshare'), argv, { stdio: ['ignore', 'ignore', 'pipe'] })
    onTestFinished(() => void agent.kill('SIGKILL'))
    let said = ''
    for await (const part of agent.stderr) {
      said += part
      if (/ nodes: .*\n/.test(said)) break
    }
    expect(said).toMatch(/ nodes: .*ECONNREFUSED 127\.0\.0\.5:6443/)
  })

  test('runs with a root that is read-only', () => {
    const run = (...words: readonly string[]) =>
      execFileSync(systemCommand('unshare'), [...around, root, ...words], { encoding: 'utf8' })
    expect(JSON.parse(run('version', '--json'))).toMatchObject({ command: 'version' })
    expect(run('agent', '--help')).toContain('--install-to')
  })
})

// --- internal

function json<T>(file: string): T {
  return JSON.parse(readFileSync(file, 'utf8')) as T
}

function blobPath({ digest }: Descriptor): string {
  return join(folder, 'blobs/sha256', digest.slice('sha256:'.length))
}

function index() {
  return json<{ manifests: Descriptor[] }>(join(folder, 'index.json'))
}

function platforms() {
  return json<{ manifests: Descriptor[] }>(blobPath(index().manifests[0] as Descriptor))
}

function manifest() {
  return json<{ config: Descriptor; layers: Descriptor[] }>(blobPath(platforms().manifests[0] as Descriptor))
}
