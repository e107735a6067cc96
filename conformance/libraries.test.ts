import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { test } from './harness/fixture.js'
import type { Host } from './harness/host.js'
import { repository, suites, systemCommand } from './harness/locations.js'
import type { Finished } from './harness/process.js'

// What the binaries ask of a host: the C library 2.28, nothing else. They bring the C++ libraries in podwire-lib and
// look for it beside their file, in /opt/cni/bin and in /usr/libexec/podwire.

const bare = '/run/bare'
const version = { env: { CNI_COMMAND: 'VERSION' }, stdin: '{"cniVersion":"1.1.0"}' }

/** Makes a root directory with the C library alone, and /proc. */
async function makeBare(host: Host): Promise<void> {
  await script(
    host,
    `mkdir -p "$bare"/{proc,opt/cni/bin,srv,usr/libexec}
     for library in $(ldd "$suite/bridge" | grep -oE '/[^ ]*/(libc|libm|libdl|libpthread|ld-linux[^ ]*)\\.so\\.[0-9]+' | sort -u); do
       mkdir -p "$bare\${library%/*}"
       cp -L "$library" "$bare$library"
     done
     mount -t proc proc "$bare/proc"`,
  )
}

/** Without what it keeps of the last one: these folders lie in memory. */
const install = 'install() { "$suite/podwire" install --from "$suite" --to "$1" >&2; rm -rf "$1/podwire-kept/"2*; }\n'

/**
 * Runs lines of bash in the host, with `suite` for the built plugins, `bare` for the bare root, `install FOLDER` for
 * the installer.
 */
async function script(host: Host, lines: string): Promise<string> {
  const head = `set -euo pipefail\nbare=${bare}\nsuite='${suites.podwire}'\n${install}`
  return host.output(['bash', '--norc', '-c', head + lines], { deadline: 120_000 })
}

const startBare = (host: Host, file: string): Promise<Finished> =>
  host.exec([systemCommand('chroot'), bare, file], version)

function expectAnswer({ status, stdout, stderr }: Finished): void {
  expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: '' })
  expect(JSON.parse(stdout)).toMatchObject({ cniVersion: '1.1.0' })
}

/** How people put plugins onto a host, and the plugin that a runtime then starts there. */
const ways: [string, string, string][] = [
  ['unpacked from an archive', 'tar -C "$suite" -c . | tar -x -C "$bare/opt/cni/bin"', '/opt/cni/bin/bridge'],
  ['installed', 'install "$bare/opt/cni/bin"', '/opt/cni/bin/host-local'],
  ['installed into a folder of another name', 'install "$bare/srv/plugins"', '/srv/plugins/bridge'],
  ['copied, a file of each name', 'cp -r "$suite"/{bridge,podwire-lib} "$bare/srv"', '/srv/bridge'],
  [
    'a hard link in another folder, of the usual one',
    'install "$bare/opt/cni/bin"; ln "$bare/opt/cni/bin/bridge" "$bare/srv/bridge"',
    '/srv/bridge',
  ],
  [
    'a hard link in another folder, of a package',
    'install "$bare/usr/libexec/podwire"; ln "$bare/usr/libexec/podwire/bridge" "$bare/opt/cni/bin/bridge"',
    '/opt/cni/bin/bridge',
  ],
  [
    'the libraries alone in the folder of a package',
    'cp -r "$suite/podwire-lib" "$bare/usr/libexec/podwire"; cp "$suite/bridge" "$bare/opt/cni/bin"',
    '/opt/cni/bin/bridge',
  ],
  [
    'a symbolic link from another folder',
    'install "$bare/srv/plugins"; ln -s /srv/plugins/bridge "$bare/opt/cni/bin/bridge"',
    '/opt/cni/bin/bridge',
  ],
  [
    'symbolic links to one name beside it',
    'install "$bare/srv"; ln -sf bridge "$bare/srv/host-local"',
    '/srv/host-local',
  ],
  [
    "the host's folder mounted elsewhere, for reading alone",
    'mount --bind "$suite" "$bare/srv"; mount -o remount,bind,ro "$bare/srv"',
    '/srv/bridge',
  ],
]

describe('a plugin starts on a host that has the C library and nothing else', () => {
  test.for(ways)('%s', async ([, lines, plugin], { host }) => {
    await makeBare(host)
    await script(host, lines)
    expectAnswer(await startBare(host, plugin))
  })

  test('every name of an installation, and ADD and DEL of one', async ({ host }) => {
    await makeBare(host)
    await script(host, 'install "$bare/opt/cni/bin"; mkdir -p "$bare"/{run,var/lib,tmp}')
    const names = readdirSync(suites.podwire, { withFileTypes: true }).filter((entry) => entry.isFile())
    for (const { name } of names) {
      if (name !== 'podwire') expectAnswer(await startBare(host, `/opt/cni/bin/${name}`))
    }
    expect((await host.exec([systemCommand('chroot'), bare, '/opt/cni/bin/podwire', 'version'])).status).toBe(0)
    const ipam = { type: 'host-local', subnet: '10.9.0.0/24' }
    const stdin = JSON.stringify({ cniVersion: '1.1.0', name: 'bare', type: 'host-local', ipam })
    const env = { CNI_CONTAINERID: 'c', CNI_IFNAME: 'eth0', CNI_NETNS: '/run/none', CNI_PATH: '/opt/cni/bin' }
    const call = (verb: string) =>
      host.exec([systemCommand('chroot'), bare, '/opt/cni/bin/host-local'], {
        env: { ...env, CNI_COMMAND: verb },
        stdin,
      })
    expect(JSON.parse((await call('ADD')).stdout)).toMatchObject({ ips: [{ address: '10.9.0.2/24' }] })
    expect(await call('DEL')).toMatchObject({ status: 0, stdout: '' })
  })

  test('also while the installation is replaced', async ({ host }) => {
    await makeBare(host)
    await script(host, 'install "$bare/opt/cni/bin"')
    let isReplaced = false
    const replacing = script(
      host,
      'for round in 1 2 3; do rm "$bare/opt/cni/bin/portmap"; install "$bare/opt/cni/bin"; done',
    ).finally(() => {
      isReplaced = true
    })
    const answers: Finished[] = []
    while (!isReplaced) answers.push(await startBare(host, '/opt/cni/bin/bridge'))
    await replacing
    expect(answers.length).toBeGreaterThan(3)
    for (const answer of answers) expectAnswer(answer)
  })

  test("without the folder it takes the host's libraries, or the loader says which is missing", async ({ host }) => {
    await makeBare(host)
    await script(host, 'cp "$suite/bridge" "$bare/srv"')
    const refused = await startBare(host, '/srv/bridge')
    expect(refused).toMatchObject({ status: 127, stdout: '' })
    expect(refused.stderr).toMatch(/error while loading shared libraries: libatomic\.so\.1: cannot open/)
    await script(
      host,
      'cp "$suite"/podwire-lib/*.so.* "$bare$(dirname "$(ldd "$suite/bridge" | grep -oE "/[^ ]*/libc\\.so\\.6")")"',
    )
    expectAnswer(await startBare(host, '/srv/bridge'))
  })
})

/** What readelf lists that a file needs: versions by library. */
function neededVersions(file: string): Map<string, string[]> {
  const text = execFileSync('readelf', ['--version-info', '--wide', file], { encoding: 'utf8', maxBuffer: 2 ** 26 })
  const needs = text.slice(text.indexOf('Version needs section'))
  const found = new Map<string, string[]>()
  let last = ''
  for (const [, library, name] of needs.matchAll(/File: (\S+)|Name: (\S+)/g)) {
    if (library) last = library
    else if (name) found.set(last, [...(found.get(last) ?? []), name])
  }
  return found
}

function definedVersions(file: string): string[] {
  const text = execFileSync('readelf', ['--version-info', '--wide', file], { encoding: 'utf8' })
  const definitions = text.slice(text.indexOf('Version definition section'), text.indexOf('Version needs section'))
  return [...definitions.matchAll(/Name: (\S+)/g)].map(([, name]) => name as string)
}

const numbers = (version: string) => version.replace('GLIBC_', '').split('.').map(Number)
const isNewer = (version: string, [major, minor]: [number, number]) => {
  const [left = 0, right = 0] = numbers(version)
  return left > major || (left === major && right > minor)
}

/** Each architecture's binary and the folder it carries. */
const builds: [string, string, string][] = [
  ['this machine', join(repository, 'dist/podwire'), join(repository, 'dist/podwire-lib')],
  ['arm64', join(repository, 'dist/arm64/podwire'), join(repository, 'dist/arm64/podwire-lib')],
]

describe.each(builds)('the binary for %s and its libraries', (architecture, binary, folder) => {
  const carried = ['libatomic.so.1', 'libgcc_s.so.1', 'libstdc++.so.6']
  const needsBuild = test.runIf(existsSync(binary))
  if (!existsSync(binary)) console.warn(`SKIPPED the libraries for ${architecture}: ${binary} is made by make dist`)

  needsBuild('ask for no newer C library than 2.28', () => {
    for (const file of [binary, ...carried.map((name) => join(folder, name))]) {
      const ofC = [...neededVersions(file).values()].flat().filter((name) => /^GLIBC_[0-9]/.test(name))
      expect(ofC.length).toBeGreaterThan(0)
      expect(
        ofC.filter((name) => isNewer(name, [2, 28])),
        file,
      ).toEqual([])
    }
  })

  needsBuild('fit each other: every version that is needed of them is there', () => {
    const needed = neededVersions(binary)
    for (const name of carried) {
      expect(needed.get(name)?.length, name).toBeGreaterThan(0)
      expect(definedVersions(join(folder, name))).toEqual(expect.arrayContaining(needed.get(name) ?? []))
    }
  })

  needsBuild('say where to look, in words that other tools read', () => {
    const dynamic = execFileSync('readelf', ['--dynamic', '--wide', binary], { encoding: 'utf8' })
    expect(dynamic).toMatch(
      /\(RUNPATH\) +Library runpath: \[\$ORIGIN\/podwire-lib:\/opt\/cni\/bin\/podwire-lib:.*\/usr\/libexec\/podwire\]/,
    )
    expect(dynamic.match(/\(RUNPATH\)/g)).toHaveLength(1)
  })

  needsBuild('come with the licences of Node, of GCC with the GPL it names, and of the packages in the bundle', () => {
    const texts = {
      node: 'Node.js is licensed',
      gcc: 'GCC RUNTIME LIBRARY EXCEPTION',
      'GPL-3': 'GNU GENERAL PUBLIC LICENSE',
      esbuild: 'MIT License',
    }
    const licences = readdirSync(folder).filter((name) => name.startsWith('LICENSE.'))
    const ofBundle = readdirSync(join(repository, 'dist/licences'))
    expect(licences.sort()).toEqual(
      [...new Set([...Object.keys(texts).map((name) => `LICENSE.${name}`), ...ofBundle])].sort(),
    )
    for (const [name, text] of Object.entries(texts))
      expect(execFileSync('cat', [join(folder, `LICENSE.${name}`)], { encoding: 'utf8' })).toContain(text)
  })
})
