import { plugins } from 'podwire:plugins'
import { commit, version } from 'podwire:version'
import { versionsSince } from '../shared/values/version.js'
import { type Definition, fine } from './frame/command.js'

/** `podwire version`: what is installed here, for a report of a mistake. */
export default {
  name: 'version',
  summary: 'print the version of the suite, its plugins with the CNI versions they speak, and the switches',
  json: '{version, commit, node, platform, plugins: [{name, cniVersions}], switches}',
  run: async ({ asJson, console }) => {
    const told = await versions()
    if (asJson) console.json('version', told)
    else console.write(...shown(told))
    return fine
  },
} satisfies Definition

// --- internal

interface Versions {
  readonly version: string
  /** Of the source it was built from; "unknown" where that was no repository. */
  readonly commit: string
  readonly node: string
  readonly platform: string
  readonly plugins: readonly { readonly name: string; readonly cniVersions: readonly string[] }[]
  /** The environment variables that change what a plugin does, with what they do. */
  readonly switches: Readonly<Record<string, string>>
}

const switches = {
  PODWIRE_DRY_RUN: '1: change nothing, print on stderr what would be done',
  PODWIRE_TRACE: 'FILE: append each process and netlink request to it, one JSON object a line',
  PODWIRE_NO_NETLINK: '1: look and change by ip, nft, tc and sysctl alone',
} as const

async function versions(): Promise<Versions> {
  const all = Object.entries(plugins).map(async ([name, load]) => {
    const { default: plugin } = await load()
    return { name, cniVersions: versionsSince(plugin.since) }
  })
  const { version: node, arch, platform } = process
  return { version, commit, node, platform: `${platform}-${arch}`, plugins: await Promise.all(all), switches }
}

function shown({ version, commit, node, platform, plugins, switches }: Versions): string[] {
  const width = Math.max(
    ...plugins.map(({ name }) => name.length),
    ...Object.keys(switches).map(({ length }) => length),
  )
  const row = (name: string, text: string) => `  ${name.padEnd(width)}  ${text}`
  return [
    `podwire ${version}, commit ${commit}, Node ${node}, ${platform}`,
    '',
    'Plugins, and the CNI versions they speak:',
    ...plugins.map(({ name, cniVersions }) => row(name, cniVersions.join(' '))),
    '',
    'Variables of the environment that change what a plugin does:',
    ...Object.entries(switches).map(([name, text]) => row(name, text)),
  ]
}
