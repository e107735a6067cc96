import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { expectEnd, needs, runScenario, scenario } from '../clients/scenario.js'
import { commandPath, repository, suites } from '../harness/locations.js'
import { run } from '../harness/process.js'
import { archive, demand, entering, rootFolder, runScript } from './place.js'

// The release archive, unpacked where a user unpacks it, on systems of nothing but what kind's node image has: Debian
// 13, which that is, and 12. What plays the runtime there is static: cnitool and busybox.

const plugins = readdirSync(suites.podwire, { withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name !== 'podwire')
  .map(({ name }) => name)

demand('node-13', 'node-12', 'node-13-containerd', 'debian-13')

describe.each(['node-13', 'node-12'])('the release archive on %s', (root) => {
  test('every plugin starts', { timeout: 240_000 }, async (context) => {
    needs(context, [])
    const script = `
      ! ls /usr/lib/*/libatomic* >&2 || exit 1
      mkdir -p /opt/cni/bin
      tar -C /opt/cni/bin -xzf "$1"
      cd /opt/cni/bin
      for file in *; do
        [[ -x $file && -f $file && $file != podwire ]] || continue
        printf '%s ' "$file"
        CNI_COMMAND=VERSION ./"$file" </dev/null
        echo
      done
      ./podwire version >/dev/null`
    const { status, stdout } = await runScript(root, script, [archive])
    const answers = stdout
      .trim()
      .split(/\n+/)
      .map((line) => /^(\S+) (.*)$/.exec(line)?.slice(1) ?? [line, ''])
    expect(status).toBe(0)
    expect(answers.map(([name]) => name)).toEqual(plugins.toSorted())
    for (const [name, answer] of answers) expect(JSON.parse(answer ?? ''), name).toHaveProperty('supportedVersions')
  })

  describe('every example is attached, carries packets, and is detached', () => {
    scenario('examples', ['busybox'], [], { archive, root: rootFolder(root) })
  })

  // The build without patches plays the newer version: other files of the same suite.
  describe('is installed, upgraded, given back and removed under containers that run', () => {
    const place = { plugins: suites.official, root: rootFolder(root) }
    scenario('install', ['busybox'], [archive, suites.plain], place)
  })
})

describe('containerd on node-13', () => {
  scenario('cri-bridge', [], [], { archive, root: rootFolder('node-13-containerd') })

  test('The recipe for kind in docs/runtimes.md, up to the cluster, whose node this is', {
    timeout: 400_000,
  }, async (context) => {
    needs(context, [])
    const { folder, mounts } = await followRecipe()
    expect(mounts.map(({ containerPath }) => containerPath)).toEqual(['/opt/cni/bin', '/etc/cni/net.d'])
    const [bin = '', configuration = ''] = mounts.map(({ hostPath }) => join(folder, hostPath))
    expect(readdirSync(bin).filter((name) => plugins.includes(name))).toEqual(plugins.toSorted())
    const place = { plugins: bin, configuration, root: rootFolder('node-13-containerd') }
    const outcome = await runScenario('cri-kind', [], place)
    expect(outcome.failed, outcome.stderr).toEqual([])
    expectEnd(outcome)
    expect(outcome.passed.length).toBeGreaterThan(20)
  })
})

interface Recipe {
  /** Stands for the folder in which a user works. */
  folder: string
  mounts: { hostPath: string; containerPath: string }[]
}

/** Runs the commands of the section on kind word for word in this tree, except the one that makes the cluster. */
async function followRecipe(): Promise<Recipe> {
  const page = readFileSync(join(repository, 'docs/runtimes.md'), 'utf8')
  const section = /\n## [^\n]*kind cluster\n(.*?)\n## /s.exec(page)?.[1] ?? ''
  const configuration = /```yaml\n(.*?)```/s.exec(section)?.[1] ?? ''
  const commands = /```sh\n(.*?)```/s.exec(section)?.[1] ?? ''
  const create = 'kind create cluster --config kind.yaml\n'
  expect(commands.endsWith(create), commands).toBe(true)
  const mounts = [...configuration.matchAll(/hostPath: \.\/(\S+), containerPath: (\S+) /g)]

  const folder = mkdtempSync(join(tmpdir(), 'podwire-kind-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  mkdirSync(join(folder, 'cni'))
  const bind = ['--bind', join(folder, 'cni'), join(repository, 'cni')]
  const script = `cd "$1"; ${commands.slice(0, -create.length)}`
  const argv = [...entering('debian-13'), ...bind, 'bash', '-euc', script, 'bash', repository]
  const { status, stderr } = await run(argv, { env: { PATH: commandPath }, deadline: 230_000 })
  expect(status, stderr).toBe(0)
  return { folder, mounts: mounts.map(([, hostPath = '', containerPath = '']) => ({ hostPath, containerPath })) }
}
